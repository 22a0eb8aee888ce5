-- The first form of the history. Times: *_ns is ns since 1970 (UTC), boot_ns is CLOCK_BOOTTIME; what is called time is
-- RFC 3339 in UTC with milliseconds. Order things by boot, boot_ns, id: the time of day may have been set.

-- A boot of the machine, in the order in which procwatch saw them.
CREATE TABLE boots (
    id INTEGER PRIMARY KEY,
    boot_id TEXT NOT NULL UNIQUE,
    time_ns INTEGER NOT NULL
);

-- A life of the agent. how is null while it runs, else stopped, closed (it went on without a history) or died.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    boot INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    version TEXT NOT NULL,
    time_ns INTEGER NOT NULL,
    boot_ns INTEGER NOT NULL,
    ended_ns INTEGER,
    ended_boot_ns INTEGER,
    how TEXT
);

-- All records; line is the JSON line as it was told.
CREATE TABLE records (
    id INTEGER PRIMARY KEY,
    boot INTEGER NOT NULL,
    run INTEGER NOT NULL,
    boot_ns INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    pid INTEGER,
    uid INTEGER,
    euid INTEGER,
    user TEXT,
    comm TEXT,
    line TEXT NOT NULL
);
CREATE INDEX records_by_time ON records (boot, boot_ns);

-- The most threads that a process was told or seen to have; only of processes that were told of for their threads.
CREATE TABLE high_water (
    boot INTEGER NOT NULL,
    pid INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    boot_ns INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    threads INTEGER NOT NULL,
    user TEXT NOT NULL,
    comm TEXT NOT NULL,
    PRIMARY KEY (boot, pid, start_ns)
) WITHOUT ROWID;

-- Published: time, component, metric, value, unit.
CREATE TABLE health_metrics (
    id INTEGER PRIMARY KEY,
    time TEXT NOT NULL,
    component TEXT NOT NULL,
    metric TEXT NOT NULL,
    value REAL NOT NULL,
    unit TEXT NOT NULL,
    boot INTEGER NOT NULL,
    boot_ns INTEGER NOT NULL,
    time_ns INTEGER NOT NULL
);
CREATE INDEX health_metrics_by_time ON health_metrics (boot, boot_ns);

-- Published: time, severity, component, message, action_taken, resolved, resolved_time, resolution.
CREATE TABLE health_alerts (
    id INTEGER PRIMARY KEY,
    time TEXT NOT NULL,
    severity TEXT NOT NULL CHECK (severity IN ('CRITICAL', 'WARNING', 'INFO')),
    component TEXT NOT NULL,
    message TEXT NOT NULL,
    action_taken TEXT,
    resolved INTEGER NOT NULL DEFAULT 0 CHECK (resolved IN (0, 1)),
    resolved_time TEXT,
    resolution TEXT,
    boot INTEGER NOT NULL,
    run INTEGER NOT NULL,
    boot_ns INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    pid INTEGER,
    start_ns INTEGER,
    bound TEXT,
    level INTEGER
);
CREATE INDEX health_alerts_by_time ON health_alerts (boot, boot_ns);
CREATE INDEX health_alerts_by_process ON health_alerts (pid, start_ns);
CREATE INDEX health_alerts_open ON health_alerts (run) WHERE resolved = 0;

-- For people with an SQL shell: one view a kind.
CREATE VIEW alerts AS
SELECT id, time_ns, boot, boot_ns, pid, user, comm, line ->> 'severity' AS severity, line ->> 'bound' AS bound,
       line ->> 'level' AS level, line ->> 'threads' AS threads, line ->> 'rule' AS rule, line ->> 'exe' AS exe
FROM records WHERE kind = 'alert';

CREATE VIEW decisions AS
SELECT id, time_ns, boot, boot_ns, pid, user, comm, line ->> 'verdict' AS verdict, line ->> 'reason' AS reason,
       line ->> 'rule' AS rule, line ->> 'mode' AS mode, line ->> 'target' AS target, line ->> 'session' AS session
FROM records WHERE kind = 'decision';

CREATE VIEW outcomes AS
SELECT id, time_ns, boot, boot_ns, pid, user, comm, line ->> 'result' AS result, line ->> 'from' AS "from",
       line ->> 'to' AS "to", line ->> 'session' AS session, line ->> 'error' AS error,
       line ->> 'outside_ns' AS outside_ns
FROM records WHERE kind = 'outcome';

CREATE VIEW placements AS
SELECT id, time_ns, boot, boot_ns, line ->> 'sessions' AS sessions, line ->> 'moved' AS moved,
       line ->> 'strays' AS strays, line ->> 'born_outside' AS born_outside
FROM records WHERE kind = 'placement';

CREATE VIEW actions AS
SELECT id, time_ns, boot, boot_ns, pid, user, comm, line ->> 'action' AS action, line ->> 'undo' AS undo,
       line ->> 'occasion' AS occasion, line ->> 'result' AS result, line ->> 'reason' AS reason,
       line ->> 'threads_before' AS threads_before, line ->> 'threads_after' AS threads_after,
       line ->> 'detail' AS detail
FROM records WHERE kind = 'action';

CREATE VIEW diagnoses AS
SELECT id, time_ns, boot, boot_ns, pid, user, comm, line ->> 'result' AS result, line ->> 'headline' AS headline
FROM records WHERE kind = 'diagnosis';

CREATE VIEW losses AS
SELECT id, time_ns, boot, boot_ns, line ->> 'ring' AS ring, line ->> 'cpu' AS cpu, line ->> 'lost' AS lost,
       line ->> 'lost_total' AS lost_total
FROM records WHERE kind = 'loss';
