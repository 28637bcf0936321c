-- COC's applications as an integration last listed them: JSON, see adapter.application.Directory.
CREATE TABLE directory (
    integration text   PRIMARY KEY,
    fetched     bigint NOT NULL,
    nodes       bytea  NOT NULL
);
