-- schema: everything a new database needs
create table meta (name text primary key, value);
create table definitions (
    version text primary key, name text not null, body blob not null, deployed_at integer not null
);
create index definitions_by_name on definitions (name, deployed_at);
create table runs (
    key integer primary key,
    id text not null,
    tenant text not null,
    workflow text not null,
    definition text not null,
    trace_id text not null,
    parent text not null,
    unique_key text not null,
    labels text not null,
    money_limit integer,
    content_key blob not null,
    created_at integer not null,
    status text not null,
    version integer not null,
    hash blob not null,
    attention_at integer,
    tasks integer not null,
    cost integer not null,
    reserved integer not null,
    updated_at integer not null,
    finished_at integer,
    error text not null,
    simulated integer not null
);
create unique index runs_by_id on runs (id);
create unique index runs_by_unique_key on runs (tenant, unique_key)
    where unique_key <> '' and status not in ('failed', 'cancelled');
create index runs_unfinished on runs (key) where finished_at is null;
create index runs_by_attention on runs (attention_at) where attention_at is not null;
create table events (
    pos integer primary key,
    run integer not null,
    version integer not null,
    at integer not null,
    type text not null,
    data blob not null,
    hash blob not null,
    content blob
) strict;
create unique index events_by_run on events (run, version);
create trigger events_are_never_changed before update of pos, run, version, at, type, data, hash on events
begin select raise(abort, 'events are append-only'); end;
create trigger contents_are_only_erased before update of content on events when new.content is not null
begin select raise(abort, 'a content may be erased, not changed'); end;
create trigger events_are_never_deleted before delete on events
when not exists (select 1 from meta where name = 'retention')
begin select raise(abort, 'events are append-only'); end;
create table blobs (run integer not null, digest blob not null, data blob not null, primary key (run, digest)) strict;
create table budgets (
    id text primary key, money_limit integer not null, spent integer not null, reserved integer not null
);
create table answers (
    tenant text not null, command_id text not null, at integer not null, answer blob not null,
    primary key (tenant, command_id)
);
create index answers_by_time on answers (at);

-- insert_run: a new run with its head; its key is the caller's
insert into runs (key, id, tenant, workflow, definition, trace_id, parent, unique_key, labels, money_limit,
    content_key, created_at, status, version, hash, attention_at, tasks, cost, reserved, updated_at, finished_at, error,
    simulated, approvals)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- move_head: compare-and-set of a run's head row; no row changed means another writer was first
update runs set status = ?1, version = ?2, hash = ?3, attention_at = ?4, tasks = ?5, cost = ?6, reserved = ?7,
    updated_at = ?8, finished_at = ?9, error = ?10, simulated = ?11, approvals = ?12
where key = ?13 and version = ?14

-- raise_limit: a run's own limit that somebody has raised
update runs set money_limit = ?1 where key = ?2

-- insert_event: one row per event; pos is given by the table, in commit order
insert into events (run, version, at, type, data, hash, content) values (?, ?, ?, ?, ?, ?, ?)

-- insert_blob: content above the inline size, once per run
insert or ignore into blobs (run, digest, data) values (?, ?, ?)

-- make_budget: a shared budget comes into being with its first use
insert or ignore into budgets (id, money_limit, spent, reserved) values (?, ?, 0, 0)

-- set_budget: a limit that somebody has changed
insert into budgets (id, money_limit, spent, reserved) values (?1, ?2, 0, 0)
on conflict (id) do update set money_limit = excluded.money_limit

-- open_budget: what is spent of a budget that a new rule begins with; what is reserved stays
insert into budgets (id, money_limit, spent, reserved) values (?1, ?2, ?3, 0)
on conflict (id) do update set money_limit = excluded.money_limit, spent = excluded.spent

-- reserve_budget: a reservation, only where it fits
update budgets set reserved = reserved + ?2, spent = spent + ?3
where id = ?1 and spent + reserved + ?2 + ?3 <= money_limit

-- settle_budget: release a reservation and book what was spent
update budgets set reserved = reserved + ?2, spent = spent + ?3 where id = ?1

-- insert_answer: what a command was answered
insert into answers (tenant, command_id, at, answer) values (?, ?, ?, ?)

-- forget_answers: repeats are known for a week
delete from answers where at < ?

-- answer: what a command of this id was answered
select answer from answers where tenant = ? and command_id = ?

-- budget: a shared budget as it stands
select id, money_limit, spent, reserved from budgets where id = ?

-- run: a run by its id
select * from runs where id = ?

-- run_by_unique_key: the live or completed run that holds a unique key
select * from runs where tenant = ? and unique_key = ? and unique_key <> '' and status not in ('failed', 'cancelled')

-- runs: the newest runs, filtered
select * from runs
where (?1 is null or status = ?1) and (?2 is null or workflow = ?2)
    and (?3 is null or created_at >= ?3) and (?4 is null or created_at < ?4)
    and (?5 = '' or instr(id, ?5) or instr(unique_key, ?5) or instr(labels, ?5) or instr(error, ?5))
    and (?6 is null or tenant = ?6) and (not ?7 or finished_at is null)
    and key < ?8
order by key desc limit ?9 offset ?10

-- count_runs: how many there are of them
select count(*) from runs
where (?1 is null or status = ?1) and (?2 is null or workflow = ?2)
    and (?3 is null or created_at >= ?3) and (?4 is null or created_at < ?4)
    and (?5 = '' or instr(id, ?5) or instr(unique_key, ?5) or instr(labels, ?5) or instr(error, ?5))
    and (?6 is null or tenant = ?6) and (not ?7 or finished_at is null)

-- unfinished: how many runs have not ended, by status
select status, count(*) from runs where finished_at is null group by status

-- stored_bytes: about how much the events and contents of a tenant's runs take
select coalesce((
    select sum(length(data) + coalesce(length(content), 0)) from events
    where run in (select key from runs where tenant = ?1)
), 0) + coalesce((select sum(length(data)) from blobs where run in (select key from runs where tenant = ?1)), 0)

-- matching: run ids by prefix, of one tenant or of all
select id from runs where id >= ?1 and id < ?1 || char(1114111) and (?3 is null or tenant = ?3) order by id limit ?2

-- busy: unfinished runs that hold tasks
select * from runs where finished_at is null and tasks > 0 and key > ? order by key limit ?

-- with_approvals: a tenant's unfinished runs with open approvals, or of which that is not known, newest first
select * from runs
where tenant = ?1 and finished_at is null and (approvals is null or approvals > 0) and key < ?2
order by key desc limit ?3

-- due: runs whose time has come, earliest first
select id from runs where attention_at is not null and attention_at <= ? order by attention_at limit ?

-- next_attention: the next time that any run waits for
select min(attention_at) from runs where attention_at is not null and attention_at > ?

-- events: a run's events in order
select pos, run, version, at, type, data, hash, content from events where run = ? and version > ?
order by version limit ?

-- feed: all runs' events in commit order
select pos, run, version, at, type, data, hash, content from events where pos > ? order by pos limit ?

-- feed_end: the last of them
select coalesce(max(pos), 0) from events

-- content: the content of one event; a large one stands in blobs, under the digest that the event names
select data, content from events where run = ? and version = ?

-- blob: a large content
select data from blobs where run = ? and digest = ?

-- last_key: the highest run number so far
select coalesce(max(key), 0) from runs

-- save_definition: keep a definition's body; deployed again, it becomes the newest of its name
insert into definitions (tenant, version, name, body, deployed_at) values (?, ?, ?, ?, ?)
on conflict (tenant, version) do update set deployed_at = excluded.deployed_at

-- has_definition: whether this content is known to its tenant
select 1 from definitions where tenant = ? and version = ?

-- definition: a tenant's definition by version
select version, body from definitions where tenant = ? and name = ? and version = ?

-- definitions: the newest of each name of a tenant, by name
select name, version, deployed_at, body from definitions as one
where tenant = ?1 and name > ?2 and not exists (
    select 1 from definitions as later where later.tenant = one.tenant and later.name = one.name
        and (later.deployed_at, later.number) > (one.deployed_at, one.number)
)
order by name limit ?3

-- newest_definition: the newest of a name
select version, body from definitions where tenant = ? and name = ? order by deployed_at desc, number desc limit 1

-- definitions_of_tenants: with schema 4 a definition is a tenant's; what was there is the default tenant's
create table definitions_of_tenants (
    number integer primary key, tenant text not null, version text not null, name text not null, body blob not null,
    deployed_at integer not null, unique (tenant, version)
);
insert into definitions_of_tenants (tenant, version, name, body, deployed_at)
select 'default', version, name, body, deployed_at from definitions order by rowid;
drop table definitions;
alter table definitions_of_tenants rename to definitions;
create index definitions_by_name on definitions (tenant, name, deployed_at);

-- open_approvals: with schema 4 a run's row says how many approvals are open; of rows that were there that is not known
alter table runs add column approvals integer;
create index runs_with_approvals on runs (tenant, key)
    where finished_at is null and (approvals is null or approvals > 0)

-- before_schema_4: what readers of an earlier file, who must not change it, see in the place of the tables
create temp view definitions as select rowid as number, 'default' as tenant, * from main.definitions;
create temp view runs as select *, null as approvals from main.runs
