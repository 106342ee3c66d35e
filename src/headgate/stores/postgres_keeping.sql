-- tables: what was deleted and what was erased, for whoever audits the log; and the ways to the runs that may go
create table deletions (
    run bigint primary key,
    run_id text collate "C" not null,
    tenant text collate "C" not null,
    workflow text collate "C" not null,
    version bigint not null,
    hash bytea not null,
    at bigint not null,
    why text not null,
    actor text not null,
    remaining bigint not null
);
create index deletions_by_id on deletions (run_id);
create index deletions_by_time on deletions (at);
create index deletions_begun on deletions (run) where remaining > 0;
create table erasures (
    run_id text collate "C" primary key,
    version bigint not null,
    at bigint not null,
    actor text not null,
    remaining bigint not null
);
create index erasures_begun on erasures (run_id) where remaining > 0;
create index runs_by_finish on runs (finished_at) where finished_at is not null;

-- expired: runs that may go, oldest end first; which they are `keeping.sql` says. The run of the newest event stays, so
-- that a database that is restored into another server finds positions to go on from.
select id from runs
where finished_at < $1 and updated_at < $1 and attention_at is null and tasks = 0
    and key <> (select max(key) from runs)
    and key <> coalesce((select run from events order by pos desc limit 1), 0)
    and not exists (select from runs as above where above.id = runs.parent)
    and not exists (
        select from runs as below
        where below.parent = runs.id and below.parent <> '' and (below.finished_at is null or below.attention_at is not null)
    )
order by finished_at limit $2

-- count_expired: how many runs are past their time, children of such with them; an estimate for a dry run
select count(*), coalesce(sum(version), 0)::bigint from runs
where finished_at < $1 and updated_at < $1 and attention_at is null and tasks = 0

-- delete_runs: those of some runs that may still go; a row in deletions takes the place of each. One that another
-- transaction is at is left for the next time. Lock order: runs (by key), deletions, budgets, answers.
with gone as (
    select key from runs
    where id = any ($2::text[]) and finished_at < $1 and updated_at < $1 and attention_at is null and tasks = 0
        and key <> (select max(key) from runs)
        and key <> coalesce((select run from events order by pos desc limit 1), 0)
        and not exists (select from runs as above where above.id = runs.parent)
        and not exists (
            select from runs as below
            where below.parent = runs.id and below.parent <> ''
                and (below.finished_at is null or below.attention_at is not null)
        )
    order by key for update skip locked
), deleted as (
    delete from runs using gone where runs.key = gone.key returning runs.*
), recorded as (
    insert into deletions (run, run_id, tenant, workflow, version, hash, at, why, actor, remaining)
    select key, id, tenant, workflow, version, hash, $3, $4, $5, version from deleted
)
select id from deleted order by key

-- delete_budgets: the budgets of the trees below deleted runs
delete from budgets where id in (select 'tree:' || run_id from unnest($1::text[]) as gone (run_id))

-- delete_answers: the answers that name one of these runs
delete from answers where at < $1 and answer = any ($2::bytea[])

-- begun: deletions whose events are not all gone; what another node is at is left to it
select run, remaining from deletions where remaining > 0 order by run limit $1 for update skip locked

-- any_begun: whether there is one
select exists (select from deletions where remaining > 0)

-- allow_deletion: within this transaction events may be deleted; of two who want to, one waits
insert into meta (name, value) values ('retention', 1) on conflict (name) do update set value = 1

-- end_deletion: and not after it
delete from meta where name = 'retention'

-- delete_blobs: a slice of a deleted or erased run's large contents
with gone as (
    delete from blobs where run = $1 and digest in (select digest from blobs where run = $1 limit $2) returning 1
)
select count(*) from gone

-- delete_events: a slice of a deleted run's events
with gone as (
    delete from events where pos in (select pos from events where run = $1 order by version limit $2) returning 1
)
select count(*) from gone

-- shrink_deletion: what is left of it
update deletions set remaining = $2 where run = $1

-- delete_spend: a slice of old spend rows
with gone as (
    delete from spend where (run_id, version, part) in (
        select run_id, version, part from spend where at < $1 order by at limit $2 for update skip locked
    )
    returning 1
)
select count(*) from gone

-- delete_cache: a slice of expired results
with gone as (
    delete from cache where (tenant, key) in (
        select tenant, key from cache where expires_at < $1 order by expires_at limit $2 for update skip locked
    )
    returning 1
)
select count(*) from gone

-- forget_deletions: deletions that are old themselves
with gone as (
    delete from deletions where run in (
        select run from deletions where at < $1 and remaining = 0 order by at limit $2 for update skip locked
    )
    returning 1
)
select count(*) from gone

-- labelled: finished and unfinished runs that carry a label
select id from runs where labels::jsonb ->> $1 = $2 order by key limit $3

-- below: a run and all runs below it
with recursive tree (id) as (
    select $1::text collate "C" union select runs.id from runs join tree on runs.parent = tree.id and runs.parent <> ''
)
select id from tree limit $2

-- erasable: whether a run has ended, and has nothing to do; it cannot begin anything until the erasure is recorded
select key, version, tenant, workflow, created_at, content_key from runs
where id = $1 and finished_at is not null and attention_at is null and tasks = 0
for no key update

-- destroy_key: without it nothing can be guessed from a digest
update runs set content_key = '' where key = $1

-- record_erasure: who erased it, and when
insert into erasures (run_id, version, at, actor, remaining) values ($1, $2, $3, $4, $2) on conflict do nothing

-- erase_cached: results that the run may have put there: of its workflow, kept since it began
delete from cache where tenant = $1 and workflow = $2 and at >= $3

-- erasures_begun: erasures that were interrupted
select erasures.run_id, runs.key from erasures join runs on runs.id = erasures.run_id where erasures.remaining > 0 limit $1

-- erase_contents: a slice of a run's contents
with gone as (
    update events set content = null where pos in (
        select pos from events where run = $1 and content is not null order by version limit $2
    )
    returning 1
)
select count(*) from gone

-- end_erasure: nothing is left of it
update erasures set remaining = 0 where run_id = $1

-- texts: how many events of each type a run has
select type, count(*) from events where run = $1 group by type order by type

-- deletion: why a run is not there
select run_id, workflow, version, hash, at, why, actor, tenant from deletions where run_id = $1

-- deletions: the newest deletions
select run_id, workflow, version, hash, at, why, actor, tenant from deletions order by at desc, run desc limit $1

-- erasure: when a run was erased
select run_id, version, at, actor from erasures where run_id = $1

-- has_content: whether a run has contents
select exists (select from events where run = $1 and content is not null) or exists (select from blobs where run = $1)

-- homeless: events of a run that is neither there nor being deleted
select run, min(version), min(pos) from events
where not exists (select from runs where runs.key = events.run)
    and not exists (select from deletions where deletions.run = events.run)
group by run limit $1

-- every_content: all contents, in slices by position
select pos, content from events where pos > $1 and content is not null order by pos limit $2

-- every_blob: all large contents, in slices
select run, digest, data from blobs where (run, digest) > ($1, $2) order by run, digest limit $3

-- every_cached: results kept for reuse, which may name files as well
select tenant, key, output from cache where (tenant, key) > ($1, $2) order by tenant, key limit $3

-- contents_of: the contents of one run, a page
select version, content from events where run = $1 and version > $2 and content is not null order by version limit $3

-- blobs_of: its large contents, a page
select digest, data from blobs where run = $1 and digest > $2 order by digest limit $3
