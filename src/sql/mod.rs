//! PostgreSQL's dialect: sessions, definitions, point operations, DataFusion, the `dolt_*` functions.
