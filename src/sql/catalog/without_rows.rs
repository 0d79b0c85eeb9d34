//! `pg_catalog`'s tables about what this server does not have. Clients look into them and find nothing.

use super::SystemTable;
use super::declaration::*;
use crate::sql::PgType;

pub const TABLES: &[SystemTable] = &[
    empty(
        "pg_matviews",
        &[
            ("schemaname", NAME),
            ("matviewname", NAME),
            ("matviewowner", NAME),
            ("definition", TEXT),
        ],
    ),
    empty(
        "pg_proc",
        &[
            ("oid", OID),
            ("proname", NAME),
            ("pronamespace", OID),
            ("proowner", OID),
            ("prolang", OID),
            ("prokind", CHAR),
            ("prosecdef", BOOL),
            ("proleakproof", BOOL),
            ("proisstrict", BOOL),
            ("proretset", BOOL),
            ("provolatile", CHAR),
            ("proparallel", CHAR),
            ("pronargs", INT2),
            ("prorettype", OID),
            ("proargtypes", PgType::OID_VECTOR),
            ("proallargtypes", PgType::OID_ARRAY),
            ("proargmodes", TEXTS),
            ("proargnames", TEXTS),
            ("prosrc", TEXT),
            ("proacl", TEXTS),
        ],
    ),
    empty(
        "pg_inherits",
        &[
            ("inhrelid", OID),
            ("inhparent", OID),
            ("inhseqno", INT4),
            ("inhdetachpending", BOOL),
        ],
    ),
    empty(
        "pg_policy",
        &[
            ("oid", OID),
            ("polname", NAME),
            ("polrelid", OID),
            ("polcmd", CHAR),
            ("polpermissive", BOOL),
            ("polroles", PgType::OID_ARRAY),
            ("polqual", TEXT),
            ("polwithcheck", TEXT),
        ],
    ),
    empty(
        "pg_statistic_ext",
        &[
            ("oid", OID),
            ("stxrelid", OID),
            ("stxname", NAME),
            ("stxnamespace", OID),
            ("stxowner", OID),
            ("stxstattarget", INT4),
            ("stxkeys", PgType::INT2_VECTOR),
            ("stxkind", PgType::CHAR_ARRAY),
        ],
    ),
    empty(
        "pg_publication",
        &[
            ("oid", OID),
            ("pubname", NAME),
            ("pubowner", OID),
            ("puballtables", BOOL),
            ("pubinsert", BOOL),
            ("pubupdate", BOOL),
            ("pubdelete", BOOL),
            ("pubtruncate", BOOL),
            ("pubviaroot", BOOL),
        ],
    ),
    empty(
        "pg_publication_namespace",
        &[("oid", OID), ("pnpubid", OID), ("pnnspid", OID)],
    ),
    empty(
        "pg_publication_rel",
        &[
            ("oid", OID),
            ("prpubid", OID),
            ("prrelid", OID),
            ("prqual", TEXT),
            ("prattrs", PgType::INT2_VECTOR),
        ],
    ),
    empty(
        "pg_publication_tables",
        &[("pubname", NAME), ("schemaname", NAME), ("tablename", NAME)],
    ),
    empty(
        "pg_subscription",
        &[
            ("oid", OID),
            ("subdbid", OID),
            ("subname", NAME),
            ("subowner", OID),
            ("subenabled", BOOL),
        ],
    ),
    empty(
        "pg_trigger",
        &[
            ("oid", OID),
            ("tgrelid", OID),
            ("tgparentid", OID),
            ("tgname", NAME),
            ("tgfoid", OID),
            ("tgtype", INT2),
            ("tgenabled", CHAR),
            ("tgisinternal", BOOL),
            ("tgconstrrelid", OID),
            ("tgconstrindid", OID),
            ("tgconstraint", OID),
            ("tgdeferrable", BOOL),
            ("tginitdeferred", BOOL),
        ],
    ),
    empty(
        "pg_rewrite",
        &[
            ("oid", OID),
            ("rulename", NAME),
            ("ev_class", OID),
            ("ev_type", CHAR),
            ("ev_enabled", CHAR),
            ("is_instead", BOOL),
        ],
    ),
    empty(
        "pg_rules",
        &[
            ("schemaname", NAME),
            ("tablename", NAME),
            ("rulename", NAME),
            ("definition", TEXT),
        ],
    ),
    empty(
        "pg_sequence",
        &[
            ("seqrelid", OID),
            ("seqtypid", OID),
            ("seqstart", INT8),
            ("seqincrement", INT8),
            ("seqmax", INT8),
            ("seqmin", INT8),
            ("seqcache", INT8),
            ("seqcycle", BOOL),
        ],
    ),
    empty(
        "pg_sequences",
        &[
            ("schemaname", NAME),
            ("sequencename", NAME),
            ("sequenceowner", NAME),
            ("data_type", TEXT),
        ],
    ),
    empty(
        "pg_enum",
        &[
            ("oid", OID),
            ("enumtypid", OID),
            ("enumsortorder", FLOAT4),
            ("enumlabel", NAME),
        ],
    ),
    empty(
        "pg_range",
        &[
            ("rngtypid", OID),
            ("rngsubtype", OID),
            ("rngmultitypid", OID),
            ("rngcollation", OID),
            ("rngsubopc", OID),
        ],
    ),
    empty(
        "pg_description",
        &[
            ("objoid", OID),
            ("classoid", OID),
            ("objsubid", INT4),
            ("description", TEXT),
        ],
    ),
    empty(
        "pg_shdescription",
        &[("objoid", OID), ("classoid", OID), ("description", TEXT)],
    ),
    empty(
        "pg_extension",
        &[
            ("oid", OID),
            ("extname", NAME),
            ("extowner", OID),
            ("extnamespace", OID),
            ("extrelocatable", BOOL),
            ("extversion", TEXT),
        ],
    ),
    empty(
        "pg_available_extensions",
        &[
            ("name", NAME),
            ("default_version", TEXT),
            ("installed_version", TEXT),
            ("comment", TEXT),
        ],
    ),
    empty(
        "pg_depend",
        &[
            ("classid", OID),
            ("objid", OID),
            ("objsubid", INT4),
            ("refclassid", OID),
            ("refobjid", OID),
            ("refobjsubid", INT4),
            ("deptype", CHAR),
        ],
    ),
    empty(
        "pg_foreign_table",
        &[("ftrelid", OID), ("ftserver", OID), ("ftoptions", TEXTS)],
    ),
    empty(
        "pg_foreign_server",
        &[
            ("oid", OID),
            ("srvname", NAME),
            ("srvowner", OID),
            ("srvfdw", OID),
            ("srvoptions", TEXTS),
        ],
    ),
    empty(
        "pg_foreign_data_wrapper",
        &[("oid", OID), ("fdwname", NAME), ("fdwowner", OID)],
    ),
    empty(
        "pg_partitioned_table",
        &[
            ("partrelid", OID),
            ("partstrat", CHAR),
            ("partnatts", INT2),
            ("partdefid", OID),
        ],
    ),
    empty(
        "pg_event_trigger",
        &[
            ("oid", OID),
            ("evtname", NAME),
            ("evtevent", NAME),
            ("evtowner", OID),
            ("evtenabled", CHAR),
        ],
    ),
    empty(
        "pg_cast",
        &[
            ("oid", OID),
            ("castsource", OID),
            ("casttarget", OID),
            ("castfunc", OID),
            ("castcontext", CHAR),
            ("castmethod", CHAR),
        ],
    ),
    empty(
        "pg_operator",
        &[
            ("oid", OID),
            ("oprname", NAME),
            ("oprnamespace", OID),
            ("oprleft", OID),
            ("oprright", OID),
            ("oprresult", OID),
        ],
    ),
    empty("pg_aggregate", &[("aggfnoid", OID), ("aggkind", CHAR)]),
    empty(
        "pg_opclass",
        &[
            ("oid", OID),
            ("opcmethod", OID),
            ("opcname", NAME),
            ("opcnamespace", OID),
            ("opcdefault", BOOL),
        ],
    ),
    empty(
        "pg_language",
        &[
            ("oid", OID),
            ("lanname", NAME),
            ("lanowner", OID),
            ("lanpltrusted", BOOL),
        ],
    ),
    empty(
        "pg_locks",
        &[
            ("locktype", TEXT),
            ("database", OID),
            ("relation", OID),
            ("pid", INT4),
            ("mode", TEXT),
            ("granted", BOOL),
        ],
    ),
    empty(
        "pg_prepared_xacts",
        &[
            ("transaction", PgType::XID),
            ("gid", TEXT),
            ("owner", NAME),
            ("database", NAME),
        ],
    ),
    empty(
        "pg_replication_slots",
        &[
            ("slot_name", NAME),
            ("plugin", NAME),
            ("slot_type", TEXT),
            ("active", BOOL),
        ],
    ),
    empty(
        "pg_stat_replication",
        &[
            ("pid", INT4),
            ("usename", NAME),
            ("application_name", TEXT),
            ("state", TEXT),
        ],
    ),
];
