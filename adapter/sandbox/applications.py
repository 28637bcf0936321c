"""The applications that a sandbox lists: the default set, or those of a file; and one page of them as COC gives it.

Source of the shape: the API definition and its example; see adapter.coc.applications. The only favourite, and COC lists
favourites unless asked otherwise, is the first application.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapter.application import APPLICATION, Node

_SHOP, _PAY, _PLATFORM = (f"66f0a1b2c3d4e5f6a7b8c9{number}" for number in ("01", "02", "03"))
_FRONT, _CART, _WEB, _PROD = (f"66f0a1b2c3d4e5f6a7b8c9{number}" for number in ("11", "12", "21", "31"))

DEFAULT: Final = (
    Node(_SHOP, "Shop", "shop", "application", "", _SHOP),
    Node(_FRONT, "Shop Frontend", "shop-frontend", "application", _SHOP, f"{_SHOP}.{_FRONT}"),
    Node(_CART, "Shop Cart", "shop-cart", "application", _SHOP, f"{_SHOP}.{_CART}"),
    Node(_WEB, "web", _WEB, "component", _FRONT, f"{_SHOP}.{_FRONT}.{_WEB}"),
    Node(_PROD, "prod", _PROD, "group", _WEB, f"{_SHOP}.{_FRONT}.{_WEB}.{_PROD}"),
    Node(_PAY, "Payments 支付", "pay", "application", "", _PAY),
    Node(_PLATFORM, "Platform", "platform", "application", "", _PLATFORM),
)


def page(nodes: Sequence[Node], query: Mapping[str, str], codes: Sequence[str]) -> dict[str, Any] | str:
    """COC's answer to one call, or why the query is refused. `codes`: the values of `code_list`."""
    try:
        limit = int(query["limit"])
    except (KeyError, ValueError):
        return "limit must not be null" if "limit" not in query else "limit must be a number"
    if not 1 <= limit <= 500:
        return "limit must be between 1 and 500"
    if query.get("is_collection", "true") not in ("true", "false"):
        return "is_collection must be true or false"
    listed = nodes[:1] if query.get("is_collection", "true") == "true" else nodes
    like = query.get("name_like", "").casefold()
    found = [node for node in listed if like in node.name.casefold() and (not codes or node.code in codes)]
    if marker := query.get("marker"):
        places = [number for number, node in enumerate(found, 1) if node.id == marker]
        found = found[places[-1] :] if places else []
    return {"data": [_row(node) for node in found[:limit]]}


def _row(node: Node) -> dict[str, Any]:
    application = node.path.split(".")[0] or node.id
    own = node.type == APPLICATION
    rest = {"component_id": None, "application_id": node.id if own else application, "vendor": None}
    return node._asdict() | {"parent_id": node.parent_id or None} | rest | {"related_domain_id": None}
