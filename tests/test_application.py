"""Which node of COC's directory a text names."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.application import LONGEST_WAY, Directory, Index, Lookup, Node, find
from adapter.nodes import from_data, read_list

SHOP, FRONT, WEB, PROD, PAY, OTHER = (f"{number:024x}" for number in range(1, 7))
NODES = (
    Node(SHOP, "Shop", "shop", "application", "", SHOP),
    Node(FRONT, "Frontend", "front", "application", SHOP, f"{SHOP}.{FRONT}"),
    Node(WEB, "web", WEB, "component", FRONT, f"{SHOP}.{FRONT}.{WEB}"),
    Node(PROD, "prod", PROD, "group", WEB, f"{SHOP}.{FRONT}.{WEB}.{PROD}"),
    Node(PAY, "支付 / Payments", "pay", "APPLICATION", "", PAY),
    Node(OTHER, "front", "other", "application", "", OTHER),
)
INDEX = Directory(NODES).index


@pytest.mark.parametrize(
    ("text", "id_", "lookup"),
    [
        ("Shop", SHOP, Lookup.NAME),
        ("  sHOP\n", SHOP, Lookup.NAME),
        ("SHOP / FRONTEND", FRONT, Lookup.NAME),
        ("shop/frontend", FRONT, Lookup.NAME),
        ("Frontend", FRONT, Lookup.NAME),
        ("front", OTHER, Lookup.NAME),  # the name of one before the code of the other
        ("other", OTHER, Lookup.NAME),
        ("Shop / Frontend / web / prod", PROD, Lookup.NAME),
        ("支付/payments", PAY, Lookup.NAME),
        (f" {WEB} ", WEB, Lookup.ID),
        (SHOP, SHOP, Lookup.ID),
        ("web", "", Lookup.UNKNOWN),  # a component is named by its way
        ("web / prod", "", Lookup.UNKNOWN),
        ("Shop / prod", "", Lookup.UNKNOWN),
        ("f" * 24, "", Lookup.UNKNOWN),
        ("shop frontend", "", Lookup.UNKNOWN),
    ],
)
def test_a_text_names_a_node(text: str, id_: str, lookup: Lookup) -> None:
    assert INDEX.find(text) == (id_, lookup)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        (Node("a", "Shop", "s1", "application"), Node("b", "shop ", "s2", "application"), "Shop"),
        (Node("a", "One", "same", "application"), Node("b", "Two", "SAME", "application"), "same"),
        (Node("a", "x", "", "component"), Node("b", "X", "", "group"), "x"),
    ],
)
def test_a_text_that_names_two_is_ambiguous(first: Node, second: Node, text: str) -> None:
    assert Directory([first, second]).index.find(text) == ("", Lookup.AMBIGUOUS)


def test_a_node_in_two_places_is_one_node_with_two_ways() -> None:
    both = [*NODES, Node(WEB, "web", WEB, "component", PAY, f"{PAY}.{WEB}")]
    directory = Directory(both)
    assert len(directory) == len(NODES)
    for text in ("Shop / Frontend / web", "支付 / Payments / web"):
        assert directory.index.find(text) == (WEB, Lookup.NAME)


def test_a_way_is_found_by_parents_where_coc_gives_no_path() -> None:
    directory = Directory([node._replace(path="") for node in NODES])
    assert directory.ways[3] == "Shop / Frontend / web / prod"


def test_what_this_account_does_not_see_is_left_out_of_a_way() -> None:
    assert Directory([NODES[0], NODES[2]]).ways == ("Shop", "Shop / web")


def test_parents_that_lead_back_end() -> None:
    one, two = Node("a", "one", type="group", parent_id="b"), Node("b", "two", type="group", parent_id="a")
    assert Directory([one, two]).ways == ("two / one", "one / two")


def test_what_is_shown_is_a_name_and_for_components_and_groups_the_way() -> None:
    assert INDEX.shown[FRONT] == "Frontend"
    assert INDEX.shown[WEB] == "Shop / Frontend / web"


def test_a_chain_of_fifty_thousand_parents_costs_no_more_than_its_nodes() -> None:
    nodes = [Node(str(each), "n" * 250, type="group", parent_id=str(each + 1)) for each in range(50_000)]
    assert max(map(len, Directory(nodes).ways)) <= LONGEST_WAY


@pytest.mark.parametrize("text", ["18cfa0a5ef8d", "65a7b9c0d1e2f3a4b5c6d7e8", "0a1b2c3d-4e5f-6789-abcd-ef0123456789"])
def test_without_a_directory_what_is_shaped_like_an_id_passes(text: str) -> None:
    assert find(None, f" {text} ") == (text, Lookup.ID)


@pytest.mark.parametrize("text", ["Shop", "18CFA0A5EF8D", "abc", "f" * 37, "Shop Frontend", "18cfa0a5ef8g"])
def test_without_a_directory_a_name_is_unknown(text: str) -> None:
    assert find(None, text) == ("", Lookup.UNKNOWN)


def test_an_empty_directory_knows_nothing() -> None:
    assert find(Directory([]).index, "18cfa0a5ef8d") == ("", Lookup.UNKNOWN)


_TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
_NODES = st.lists(
    st.builds(
        Node,
        st.text("0123456789ab.", min_size=1, max_size=4), _TEXT, _TEXT,
        st.sampled_from(["application", "component", "group", "", "new"]),
        st.text("0123456789ab", max_size=2), st.text("0123456789ab.", max_size=9),
    ),
    max_size=12,
)  # fmt: skip


@given(nodes=_NODES, text=_TEXT)
def test_any_directory_is_packed_and_found_in_alike(nodes: list[Node], text: str) -> None:
    directory = Directory(nodes)
    again, index = Directory.unpack(directory.pack()), Index.unpack(directory.index.pack())
    assert again.nodes == directory.nodes
    assert index is not None
    assert again.index.find(text) == directory.index.find(text) == index.find(text)


@given(nodes=_NODES)
def test_a_name_gives_an_id_that_has_it_and_every_id_is_itself(nodes: list[Node]) -> None:
    directory = Directory(nodes)
    for node, way in zip(directory.nodes, directory.ways, strict=True):
        assert directory.index.find(node.id) == (node.id.strip(), Lookup.ID)
        for text in (node.name, node.code, way):
            id_, lookup = directory.index.find(text)
            assert bool(id_) == (lookup in (Lookup.ID, Lookup.NAME))
            if lookup is Lookup.NAME:
                assert any(way == found for found in directory.named(text) for way in directory.ways)


def test_a_list_is_read_by_integration_and_as_a_whole() -> None:
    rows = [{**node._asdict(), "integration": name} for node, name in zip(NODES, "aabbab", strict=True)]
    found = read_list(json.dumps(rows).encode())
    assert found.keys() == {"", "a", "b"}
    assert len(found[""]) == len(NODES)
    assert [node.id for node in found["b"].nodes] == [WEB, PROD, OTHER]


def test_a_table_of_names_is_a_directory_too() -> None:
    found = from_data({"Shop": SHOP, "Shop / prod": PROD, "Numbers": 123456789012})[""].index
    assert found.find("shop") == (SHOP, Lookup.NAME)
    assert found.find("Shop/Prod") == (PROD, Lookup.NAME)
    assert found.find("numbers") == ("123456789012", Lookup.NAME)


@pytest.mark.parametrize("text", ["", "{}", '[{"name": "x"}]', "[1]", '{"data": []}'])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_list(text.encode())


def test_ten_thousand_nodes_take_less_than_twenty_mebibytes() -> None:
    nodes = [
        Node(f"{each:024x}", f"Application {each}", f"app-{each}", "application", "", f"{each:024x}")
        for each in range(10_000)
    ]
    packed = Directory(nodes).pack()
    del nodes
    tracemalloc.start()
    directory = Directory.unpack(packed)
    index = Index.unpack(directory.index.pack())
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert index is not None
    assert index.find("application 9999") == (f"{9999:024x}", Lookup.NAME)
    assert taken < 20 * 1024 * 1024
