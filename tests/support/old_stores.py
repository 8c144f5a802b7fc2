"""Stores as earlier versions made them."""

#: A file as version 1 made it; never to be changed.
VERSION_1 = """
CREATE TABLE part (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, station TEXT, run TEXT,
    wall REAL NOT NULL, verdict TEXT NOT NULL, reason TEXT, late INTEGER NOT NULL,
    unstored INTEGER NOT NULL, lot TEXT, serial TEXT, decided_ms REAL, revised TEXT);
CREATE INDEX part_by_time ON part (wall);
CREATE INDEX part_not_ok ON part (coalesce(revised, verdict), wall)
    WHERE coalesce(revised, verdict) <> 'OK';
CREATE TABLE later_verdict (
    number INTEGER PRIMARY KEY, part TEXT NOT NULL, run TEXT, wall REAL NOT NULL,
    verdict TEXT NOT NULL, reason TEXT, late INTEGER NOT NULL, decided_ms REAL);
CREATE INDEX later_verdict_by_part ON later_verdict (part);
CREATE TABLE frame (
    number INTEGER NOT NULL, camera TEXT NOT NULL, recipe TEXT, recipe_version TEXT,
    bundle TEXT, source TEXT, frame INTEGER, wall REAL, verdict TEXT NOT NULL, reason TEXT,
    score REAL, raw_score REAL, threshold REAL, recurring INTEGER, near_duplicate INTEGER,
    admitted INTEGER, compared_with INTEGER, regions TEXT, fault TEXT, latency_ms TEXT,
    PRIMARY KEY (number, camera)) WITHOUT ROWID;
CREATE TABLE revision (
    number INTEGER PRIMARY KEY, part TEXT, camera TEXT, run TEXT, wall REAL NOT NULL,
    verdict TEXT NOT NULL, reason TEXT, first_verdict TEXT NOT NULL, recurring INTEGER,
    score REAL, raw_score REAL, threshold REAL);
CREATE INDEX revision_by_part ON revision (part) WHERE part IS NOT NULL;
CREATE TABLE event (
    number INTEGER PRIMARY KEY, wall REAL NOT NULL, name TEXT NOT NULL, run TEXT,
    station TEXT, camera TEXT, part TEXT, by TEXT, text TEXT NOT NULL, data TEXT);
CREATE INDEX event_by_part ON event (part) WHERE part IS NOT NULL;
CREATE TABLE feedback (
    id INTEGER PRIMARY KEY, part TEXT NOT NULL, wall REAL NOT NULL, answer TEXT NOT NULL,
    note TEXT NOT NULL, by TEXT NOT NULL);
CREATE INDEX feedback_by_part ON feedback (part);
CREATE TABLE recipe_version (
    version TEXT PRIMARY KEY, name TEXT NOT NULL, text TEXT NOT NULL, wall REAL NOT NULL)
    WITHOUT ROWID;
CREATE TABLE run (
    run TEXT PRIMARY KEY, station TEXT, program TEXT NOT NULL, wall REAL NOT NULL)
    WITHOUT ROWID;
CREATE TABLE picture (
    path TEXT PRIMARY KEY, part TEXT NOT NULL, camera TEXT NOT NULL, kind TEXT NOT NULL,
    bytes INTEGER NOT NULL, rank INTEGER NOT NULL, wall REAL NOT NULL,
    kept_until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX picture_by_part ON picture (part);
CREATE INDEX picture_by_age ON picture (rank, kept_until);
INSERT INTO part VALUES (7, 'old', 'press-4', 'run', 1.7e9, 'NG', 'score', 0, 0, NULL, NULL, 20.5,
    NULL);
INSERT INTO frame VALUES (7, 'top', 'a', 'v', NULL, 'x.png', 3, 1.7e9, 'NG', 'score', 0.5, 0.5,
    0.3, 0, 0, 1, 63, '[[1,2,3,4]]', NULL, '{}');
PRAGMA user_version = 1;
"""
