"""The tables of an archive."""

VERSION = 3
"""Raised with every change of a table. Version 1 had no table of functions, version 2 no gains and nothing outside."""

SCHEMA = """
CREATE TABLE proposals (
    round INTEGER NOT NULL,       -- from 0
    slot INTEGER NOT NULL,        -- the formula's row in its round
    formula TEXT NOT NULL,        -- infix
    fingerprint TEXT NOT NULL,    -- equal for two spellings of one function
    fresh INTEGER NOT NULL,       -- 1 where the function was judged for this slot, 0 where it was known
    status TEXT NOT NULL,
    reward REAL NOT NULL,         -- what the controller was told
    PRIMARY KEY (round, slot)
) STRICT, WITHOUT ROWID;

CREATE TABLE evaluations (
    id INTEGER PRIMARY KEY,       -- in the order of their end
    round INTEGER NOT NULL,       -- -1 for the baseline, before the first round
    fingerprint TEXT NOT NULL,
    formula TEXT NOT NULL,        -- the spelling that was trained
    protocol TEXT NOT NULL,       -- the name of the proxy, with all that decides its score but formula and seed
    seed INTEGER NOT NULL,
    status TEXT NOT NULL,
    score REAL,                   -- null unless the status is ok
    latency REAL,                 -- ratio to ReLU
    wall_seconds REAL NOT NULL,
    value REAL,                   -- the reward as returned, by a plain reward
    message TEXT NOT NULL,
    outside REAL,                 -- the part of the score that is on inputs outside the range of training
    details TEXT,                 -- of a plain reward its error, scores, gains; learned parameters; a JSON object
    UNIQUE (fingerprint, protocol, seed)
) STRICT;
"""

FUNCTIONS_SCHEMA = """
CREATE TABLE functions (
    fingerprint TEXT PRIMARY KEY,
    number INTEGER NOT NULL,      -- in the order in which they came
    round INTEGER NOT NULL,       -- in which something of this row has changed; -1 before the first one
    formula TEXT NOT NULL,        -- the spelling with the highest reward
    size INTEGER NOT NULL,        -- its tokens
    status TEXT NOT NULL,
    reward REAL NOT NULL,
    score REAL,                   -- mean over proxies and seeds; null unless the status is ok
    standard_error REAL,          -- of the score, over seeds
    latency REAL,                 -- ratio to ReLU
    message TEXT NOT NULL,
    seeds INTEGER NOT NULL,       -- from which it was trained
    rung INTEGER NOT NULL,        -- of successive halving
    is_reference INTEGER NOT NULL, -- 1 for what others are relative to
    scores TEXT,                  -- on each proxy, a JSON object
    gains TEXT                    -- over the reference on each proxy, a JSON object
) STRICT, WITHOUT ROWID;
"""

SET_VERSION = f"PRAGMA user_version = {VERSION};"

FUNCTION_COLUMNS = (
    "fingerprint, number, round, formula, size, status, reward, score, standard_error, latency, message, seeds, rung, "
    "is_reference, scores, gains"
)
EVALUATION_COLUMNS = (
    "round, fingerprint, formula, protocol, seed, status, score, latency, wall_seconds, value, message, outside, "
    "details"
)
