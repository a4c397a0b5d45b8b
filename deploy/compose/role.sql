-- The database of Sandyq and the role that owns it, which is no superuser. Run once, when the volume is new.
\set ON_ERROR_STOP on
\set password `cat /run/secrets/postgres.password`
CREATE ROLE sandyq LOGIN PASSWORD :'password';
-- What it may not see of standbys counts as one that may lose data.
GRANT pg_read_all_stats TO sandyq;
CREATE DATABASE sandyq OWNER sandyq;
REVOKE CONNECT ON DATABASE sandyq FROM PUBLIC;
