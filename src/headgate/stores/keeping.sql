-- schema: what was deleted and what was erased, for whoever audits the log; and the ways to the runs that may go
create table deletions (
    run integer primary key,
    run_id text not null,
    tenant text not null,
    workflow text not null,
    version integer not null,
    hash blob not null,
    at integer not null,
    why text not null,
    actor text not null,
    remaining integer not null
);
create index deletions_by_id on deletions (run_id);
create index deletions_by_time on deletions (at);
create index deletions_begun on deletions (run) where remaining > 0;
create table erasures (
    run_id text primary key, version integer not null, at integer not null, actor text not null, remaining integer not null
);
create index erasures_begun on erasures (run_id) where remaining > 0;
create index runs_by_finish on runs (finished_at) where finished_at is not null;
create index runs_by_parent on runs (parent) where parent <> '';

-- expired: runs that may go, oldest end first. Never one that has anything to do, whose parent is there, or that has a
-- child with anything to do. The run with the highest key and the run of the newest event stay, so that no key and no
-- position is ever given twice.
select id from runs
where finished_at < ?1 and updated_at < ?1 and attention_at is null and tasks = 0
    and key <> (select max(key) from runs)
    and key <> coalesce((select run from events order by pos desc limit 1), 0)
    and not exists (select 1 from runs above where above.id = runs.parent)
    and not exists (
        select 1 from runs below
        where below.parent = runs.id and (below.finished_at is null or below.attention_at is not null)
    )
order by finished_at limit ?2

-- still_expired: the same of one run, at the moment of its deletion
select key, id, tenant, workflow, version, hash from runs
where id = ?2 and finished_at < ?1 and updated_at < ?1 and attention_at is null and tasks = 0
    and key <> (select max(key) from runs)
    and key <> coalesce((select run from events order by pos desc limit 1), 0)
    and not exists (select 1 from runs above where above.id = runs.parent)
    and not exists (
        select 1 from runs below
        where below.parent = runs.id and (below.finished_at is null or below.attention_at is not null)
    )

-- count_expired: how many runs are past their time, children of such with them; an estimate for a dry run
select count(*), coalesce(sum(version), 0) from runs
where finished_at < ?1 and updated_at < ?1 and attention_at is null and tasks = 0

-- record_deletion: why a run is not there any more
insert into deletions (run, run_id, tenant, workflow, version, hash, at, why, actor, remaining)
values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?5)

-- delete_run: its row goes first; its events follow in slices
delete from runs where key = ?

-- delete_budget: the budget of the tree below it
delete from budgets where id = 'tree:' || ?

-- delete_answers: the answers that name one of these runs
delete from answers where at < ?1 and cast(answer as text) in (select value from json_each(?2))

-- begun: deletions whose events are not all gone
select run, remaining from deletions where remaining > 0 order by run limit ?

-- allow_deletion: within this transaction events may be deleted
insert or replace into meta (name, value) values ('retention', 1)

-- end_deletion: and not after it
delete from meta where name = 'retention'

-- delete_blobs: a slice of a deleted or erased run's large contents
delete from blobs where rowid in (select rowid from blobs where run = ? limit ?)

-- delete_events: a slice of a deleted run's events
delete from events where pos in (select pos from events where run = ? order by version limit ?)

-- shrink_deletion: what is left of it
update deletions set remaining = ?2 where run = ?1

-- delete_spend: a slice of old spend rows
delete from spend where pos in (select pos from spend where at < ? order by at limit ?)

-- delete_cache: a slice of expired results
delete from cache where rowid in (select rowid from cache where expires_at < ? limit ?)

-- old_deletions: deletions that are old themselves
select run, version from deletions where at < ? and remaining = 0 order by at limit ?

-- forget_deletion: its row goes; its events stay counted
delete from deletions where run = ?

-- count_forgotten: how many deleted events no row tells of any more
insert into meta (name, value) values ('deleted_events', ?1) on conflict (name) do update set value = value + ?1

-- labelled: finished and unfinished runs that carry a label
select id from runs
where key > ?3 and exists (select 1 from json_each(runs.labels) where json_each.key = ?1 and json_each.value = ?2)
order by key limit ?4

-- below: a run and all runs below it
with recursive tree (id) as (
    values (?1) union select runs.id from runs join tree on runs.parent = tree.id and runs.parent <> ''
)
select id from tree limit ?2

-- erasable: whether a run has ended, and has nothing to do
select key, version, tenant, workflow, created_at, content_key from runs
where id = ? and finished_at is not null and attention_at is null and tasks = 0

-- destroy_key: without it nothing can be guessed from a digest
update runs set content_key = x'' where key = ?

-- record_erasure: who erased it, and when
insert into erasures (run_id, version, at, actor, remaining) values (?1, ?2, ?3, ?4, ?2)

-- erase_cached: results that the run may have put there: of its workflow, kept since it began
delete from cache where tenant = ? and workflow = ? and at >= ?

-- erasures_begun: erasures that were interrupted
select erasures.run_id, runs.key from erasures join runs on runs.id = erasures.run_id where erasures.remaining > 0 limit ?

-- erase_contents: a slice of a run's contents
update events set content = null where pos in (
    select pos from events where run = ?1 and content is not null order by version limit ?2
)

-- end_erasure: nothing is left of it
update erasures set remaining = 0 where run_id = ?

-- texts: how many events of each type a run has
select type, count(*) from events where run = ? group by type order by type

-- deletion: why a run is not there
select run_id, workflow, version, hash, at, why, actor, tenant from deletions where run_id = ?

-- deletions: the newest deletions
select run_id, workflow, version, hash, at, why, actor, tenant from deletions order by at desc, run desc limit ?

-- erasure: when a run was erased
select run_id, version, at, actor from erasures where run_id = ?

-- counted: the newest position, the events there are, and those that deletions explain
select coalesce((select max(pos) from events), 0), (select count(*) from events),
    coalesce((select sum(version - remaining) from deletions), 0)
        + coalesce((select value from meta where name = 'deleted_events'), 0)

-- homeless: events of a run that is neither there nor being deleted
select run, min(version), min(pos) from events
where not exists (select 1 from runs where runs.key = events.run)
    and not exists (select 1 from deletions where deletions.run = events.run)
group by run limit ?

-- every_content: all contents, in slices by position
select pos, content from events where pos > ? and content is not null order by pos limit ?

-- every_blob: all large contents, one by one
select rowid, data from blobs where rowid > ? order by rowid limit ?

-- contents_of: the contents of one run
select content from events where run = ?1 and content is not null union all select data from blobs where run = ?1

-- every_cached: results kept for reuse, which may name files as well
select rowid, output from cache where rowid > ? order by rowid limit ?
