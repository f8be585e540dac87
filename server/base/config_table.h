// Every setting of Kerf. X(name, kind, default, least, most, help): kind TEXT, SECRET, INTEGER, NUMBER or FLAG.
// Bounds are for numbers; most 0 with least not negative means no upper bound. Keep rows of a topic together.
#ifndef KERF_BASE_CONFIG_TABLE_H
#define KERF_BASE_CONFIG_TABLE_H

// clang-format off
#define KF_SETTINGS(X)                                                                                                 \
    /* where things are */                                                                                             \
    X("KERF_DATA", TEXT, "", 0, 0, "Folder of everything that is kept: blobs, the private PostgreSQL, certificates.")   \
    X("KERF_DATABASE_URL", SECRET, "", 0, 0, "PostgreSQL 15 or newer for servers, intake and workers (libpq URI). Empty: kerf up runs a private one.") \
    X("KERF_DATABASE_OWNER_URL", SECRET, "", 0, 0, "The same database as the role that owns the schema, for migrations and administration. Empty: KERF_DATABASE_URL, which kerf up then only uses.") \
    X("KERF_BLOBS", TEXT, "", 0, 0, "Where bytes are kept. Empty: KERF_DATA/blobs.")                                    \
    X("KERF_WEB_ROOT", TEXT, "", 0, 0, "Folder of the built web app. Empty: web/dist beside the programs.")             \
    X("KERF_ORGANISATION", TEXT, "Hospital", 0, 0, "Name of the organisation that the first start makes.")              \
    X("KERF_USER", TEXT, "", 0, 0, "User that the daemons run as when kerf up is root, who then owns what they write; with the private PostgreSQL the same as KERF_POSTGRES_USER. Empty: root.") \
    X("KERF_LOG_LEVEL", TEXT, "info", 0, 0, "debug, info, warn or error.")                                              \
    X("KERF_POSTGRES_BIN", TEXT, "", 0, 0, "Folder with postgres and initdb. Empty: the newest under /usr/lib/postgresql, then PATH.") \
    X("KERF_POSTGRES_USER", TEXT, "postgres", 0, 0, "User that the private PostgreSQL runs as when kerf up is root.")    \
    /* HTTP */                                                                                                         \
    X("KERF_HTTP_ADDRESS", TEXT, "127.0.0.1", 0, 0, "Address of the plain HTTP listener; empty: none.")                 \
    X("KERF_HTTP_PORT", INTEGER, "8080", 0, 65535, "Its port; 0 takes a free one.")                                     \
    X("KERF_TLS_ADDRESS", TEXT, "0.0.0.0", 0, 0, "Address of the HTTPS listener.")                                      \
    X("KERF_TLS_PORT", INTEGER, "0", 0, 65535, "Its port; 0 means no HTTPS.")                                           \
    X("KERF_TLS_CERT", TEXT, "", 0, 0, "PEM file with the certificate chain.")                                          \
    X("KERF_TLS_KEY", TEXT, "", 0, 0, "PEM file with the private key.")                                                 \
    X("KERF_TRUSTED_PROXY", TEXT, "", 0, 0, "Addresses (CIDR, comma separated) whose X-Forwarded-For and -Proto are believed.") \
    X("KERF_HTTP_THREADS", INTEGER, "8", 1, 256, "Threads that answer requests, each with a database connection.")      \
    X("KERF_HTTP_SLOW_THREADS", INTEGER, "4", 1, 64, "Threads for sign-in and the like, and as many for uploads.")       \
    X("KERF_HTTP_CONNECTIONS", INTEGER, "1000", 8, 100000, "Most connections at once.")                                 \
    X("KERF_HTTP_HEADER_S", NUMBER, "15", 1, 600, "Seconds in which a client must have sent its headers.")              \
    X("KERF_HTTP_IDLE_S", NUMBER, "60", 1, 3600, "Seconds that a connection may say nothing.")                          \
    X("KERF_UPLOAD_MOST_BYTES", INTEGER, "21474836480", 1048576, 0, "Largest upload in one request.")                   \
    X("KERF_VIEW_CACHE_MS", INTEGER, "1000", 0, 60000, "Milliseconds for which the answer to a small read may be kept; 0: every read asks the database.") \
    X("KERF_EVENTS_SUBSCRIBERS", INTEGER, "2000", 1, 100000, "Most live event streams at once.")                        \
    /* people */                                                                                                       \
    X("KERF_SESSION_S", NUMBER, "43200", 300, 2592000, "Seconds after which a session ends for good.")                  \
    X("KERF_SESSION_IDLE_S", NUMBER, "7200", 60, 2592000, "Seconds without a request after which a session ends.")      \
    X("KERF_LOGIN_ATTEMPTS", INTEGER, "5", 3, 100, "Wrong passwords in a row after which an account is locked.")        \
    X("KERF_LOGIN_LOCK_S", NUMBER, "30", 1, 86400, "First lock; it doubles with every further wrong password.")         \
    X("KERF_LOGIN_LOCK_MOST_S", NUMBER, "3600", 1, 604800, "Longest lock.")                                             \
    X("KERF_LOGIN_PER_MINUTE", INTEGER, "20", 1, 10000, "Sign-in attempts per client address and minute.")              \
    X("KERF_ARGON2_MEMORY_KIB", INTEGER, "19456", 19456, 2097152, "Memory of a password hash.")                         \
    X("KERF_ARGON2_PASSES", INTEGER, "2", 2, 64, "Passes of a password hash.")                                          \
    /* receiving */                                                                                                    \
    X("KERF_DICOM_ADDRESS", TEXT, "0.0.0.0", 0, 0, "Address of the DICOM listener.")                                   \
    X("KERF_DICOM_PORT", INTEGER, "11112", -1, 65535, "Its port; 0 takes a free one, -1 turns it off.")                \
    X("KERF_DICOM_AE", TEXT, "KERF", 0, 0, "Our AE title.")                                                            \
    X("KERF_DICOM_TLS_PORT", INTEGER, "0", 0, 65535, "Port of the DICOM TLS listener (2762 is usual); 0: none.")       \
    X("KERF_DICOM_TLS_CERT", TEXT, "", 0, 0, "PEM certificate of the DICOM TLS listener.")                             \
    X("KERF_DICOM_TLS_KEY", TEXT, "", 0, 0, "Its private key.")                                                        \
    X("KERF_DICOM_TLS_CA", TEXT, "", 0, 0, "PEM file with the authorities that peers' certificates must come from.")   \
    X("KERF_DICOM_TLS_CLIENT", FLAG, "1", 0, 0, "Peers must show a certificate.")                                      \
    X("KERF_INTAKE_ASSOCIATIONS", INTEGER, "64", 1, 10000, "Associations at once.")                                    \
    X("KERF_INTAKE_PER_ADDRESS", INTEGER, "16", 1, 10000, "Associations at once from one address.")                    \
    X("KERF_INTAKE_NEGOTIATION_S", NUMBER, "10", 1, 600, "Seconds in which a peer must have asked for its association.") \
    X("KERF_INTAKE_IDLE_S", NUMBER, "60", 1, 86400, "Seconds that a peer may say nothing.")                            \
    X("KERF_INTAKE_ASSOCIATION_S", NUMBER, "14400", 1, 604800, "Longest association, in seconds.")                     \
    X("KERF_INTAKE_OBJECT_BYTES", INTEGER, "4294967296", 1048576, 0, "Largest object, in bytes.")                      \
    X("KERF_INTAKE_PDU_BYTES", INTEGER, "131072", 4096, 131072, "Largest PDU that we take, in bytes.")                 \
    X("KERF_INTAKE_MEMORY_BYTES", INTEGER, "2147483648", 268435456, 0, "Address space of one association's process, in bytes.") \
    X("KERF_INTAKE_DATABASE_WAIT_S", NUMBER, "10", 0, 600, "How long a C-STORE waits for a restarting database.")      \
    X("KERF_INTAKE_UNKNOWN", TEXT, "set_aside", 0, 0, "Storage classes we do not know: refuse or set_aside.")          \
    X("KERF_SETTLE_S", NUMBER, "2", 0, 3600, "Seconds without a new instance after which a series is imported.")        \
    /* working */                                                                                                      \
    X("KERF_WORKER_SLOTS", INTEGER, "2", 1, 1024, "Jobs at once on this machine.")                                      \
    X("KERF_WORKER_THREADS", INTEGER, "0", 0, 1024, "Threads of a job; 0: every processor.")                            \
    X("KERF_WORKER_KINDS", TEXT, "", 0, 0, "Job kinds of this worker, comma separated; empty: all.")                    \
    X("KERF_WORKER_LEASE_S", NUMBER, "30", 1, 3600, "How long a job waits for its worker's next sign of life.")         \
    X("KERF_WORKER_JOB_PROGRAM", TEXT, "", 0, 0, "The program that runs a job. Empty: kerf-job beside kerf-workerd.")   \
    X("KERF_SCRATCH", TEXT, "", 0, 0, "Folder for the scratch of jobs and uploads. Empty: KERF_DATA/scratch.")          \
    X("KERF_EVENTS_KEEP_S", NUMBER, "604800", 3600, 0, "How long live events are kept for streams that resume.")
// clang-format on

#endif
