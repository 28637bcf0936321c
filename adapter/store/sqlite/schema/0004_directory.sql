-- COC's applications as an integration last listed them: JSON, see adapter.application.Directory.
CREATE TABLE directory (
    integration TEXT PRIMARY KEY,
    fetched INTEGER NOT NULL,
    nodes BLOB NOT NULL
);
