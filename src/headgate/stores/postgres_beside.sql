-- tables: what lies beside the log
create table documents (
    kind text collate "C" not null,
    tenant text collate "C" not null,
    name text collate "C" not null,
    body bytea not null,
    revision bigint not null,
    at bigint not null,
    primary key (kind, tenant, name)
);
create table document_kinds (kind text collate "C" primary key, revision bigint not null) with (fillfactor = 50);
create table limits (name text collate "C" primary key, body text not null)
    with (fillfactor = 70, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.02);
create table cache (
    tenant text collate "C" not null,
    key bytea not null,
    workflow text collate "C" not null,
    activity text collate "C" not null,
    name text collate "C" not null,
    at bigint not null,
    expires_at bigint not null,
    used_at bigint not null,
    saves bigint not null,
    hits bigint not null,
    size bigint not null,
    digest bytea not null,
    output bytea not null,
    primary key (tenant, key)
) with (autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_scale_factor = 0.02);
alter table cache alter column output set storage external;
create index cache_by_expiry on cache (expires_at);
create index cache_by_use on cache (used_at, size);

-- functions: changes that are decided by what is there, each in one call
--
-- Lock order of put_document and remove_document: the kind, then the document.
create function put_document(
    new_kind text, new_tenant text, new_name text, new_body bytea, new_at bigint, expected bigint
) returns bigint language plpgsql
    set search_path from current
as $$
declare
    standing record;
    grown bigint;
begin
    insert into document_kinds (kind, revision) values (new_kind, 0) on conflict do nothing;
    perform from document_kinds where kind = new_kind for no key update;
    select * into standing from documents where kind = new_kind and tenant = new_tenant and name = new_name;
    if expected is not null and coalesce(standing.revision, 0) <> expected then
        -- Sent again because the first answer was lost: it is as it was asked for, by the one who asks.
        if standing.revision > expected and standing.at = new_at and standing.body = new_body then
            return standing.revision;
        end if;
        return null;
    end if;
    update document_kinds set revision = revision + 1 where kind = new_kind returning revision into grown;
    insert into documents (kind, tenant, name, body, revision, at)
    values (new_kind, new_tenant, new_name, new_body, grown, new_at)
    on conflict (kind, tenant, name) do update
    set body = excluded.body, revision = excluded.revision, at = excluded.at;
    return grown;
end
$$;
create function remove_document(old_kind text, old_tenant text, old_name text, expected bigint)
returns boolean language plpgsql
    set search_path from current
as $$
begin
    perform from document_kinds where kind = old_kind for no key update;
    delete from documents
    where kind = old_kind and tenant = old_tenant and name = old_name and (expected is null or revision = expected);
    if not found then return false; end if;
    update document_kinds set revision = revision + 1 where kind = old_kind;
    return true;
end
$$;
-- Those who change a cell of one name go one after the other, also where there is no row yet to lock. Lock order: the
-- names' numbers.
create function swap_cells(names text[], befores text[], afters text[]) returns boolean language plpgsql
    set search_path from current
as $$
begin
    perform pg_advisory_xact_lock(1213227367, number)
    from (select distinct hashtext(name) as number from unnest(names) as wanted (name) order by 1) as numbers;
    if exists (
        select from unnest(names, befores) as change (name, before) left join limits using (name)
        where limits.body is distinct from change.before
    ) then
        return false;
    end if;
    delete from limits using unnest(names, afters) as change (name, after)
    where limits.name = change.name and change.after is null;
    insert into limits (name, body)
    select name, after from unnest(names, afters) as change (name, after) where after is not null
    on conflict (name) do update set body = excluded.body;
    return true;
end
$$;

-- get_document: one document
select kind, tenant, name, body, revision, at from documents where kind = $1 and tenant = $2 and name = $3

-- list_documents: documents of a kind, of one tenant or of all
select kind, tenant, name, body, revision, at from documents
where kind = $1 and ($2::text is null or tenant = $2) and (tenant, name) > ($3, $4)
order by tenant, name limit $5

-- document_revision: how often a kind has changed
select coalesce((select revision from document_kinds where kind = $1), 0)

-- put_document: a document as it is now; its revision, or null where it is not the expected one
select put_document($1, $2, $3, $4, $5, $6)

-- remove_document: a document that is wanted no more; whether it was there
select remove_document($1, $2, $3, $4)

-- some_cells: the cells of these names
select name, body from limits where name = any ($1::text[])

-- cells_below: the cells whose names begin so
select name, body from limits where starts_with(name, $1) order by name

-- any_cell: whether there is one
select exists (select from limits)

-- swap_cells: all cells to what is after, if each is what it was before
select swap_cells($1, $2, $3)

-- find_cached: a result that still holds
select workflow, activity, name, at, expires_at, saves, digest, output from cache
where tenant = $1 and key = $2 and expires_at > $3

-- keep_cached: results, each in the place of its predecessor; in the order of their keys, so that two nodes do not meet
insert into cache (tenant, key, workflow, activity, name, at, expires_at, used_at, saves, hits, size, digest, output)
select * from unnest($1::text[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
    $9::bigint[], $10::bigint[], $11::bigint[], $12::bytea[], $13::bytea[]) as new (tenant, key)
order by tenant collate "C", key
on conflict (tenant, key) do update set workflow = excluded.workflow, activity = excluded.activity,
    name = excluded.name, at = excluded.at, expires_at = excluded.expires_at, used_at = excluded.used_at,
    saves = excluded.saves, hits = excluded.hits, size = excluded.size, digest = excluded.digest, output = excluded.output

-- touch_cached: count the uses of results, in the order of their keys
with used as (
    select cache.tenant, cache.key, new.hits, new.used_at
    from unnest($1::text[], $2::bytea[], $3::bigint[], $4::bigint[]) as new (tenant, key, hits, used_at)
    join cache on cache.tenant = new.tenant and cache.key = new.key
    order by cache.tenant, cache.key for no key update of cache
)
update cache set hits = cache.hits + used.hits, used_at = greatest(cache.used_at, used.used_at)
from used where cache.tenant = used.tenant and cache.key = used.key

-- total_cached: how many results there are, and their size
select count(*), coalesce(sum(size), 0)::bigint from cache

-- forget_expired: take out what no longer holds
with gone as (delete from cache where expires_at <= $1 returning 1) select count(*) from gone

-- forget_least_used: keep the results that were used last, as many of them and as large as they may be
delete from cache using (
    select tenant, key, row_number() over newest as number, sum(size) over newest as bytes
    from cache window newest as (order by used_at desc, tenant, key rows unbounded preceding)
) as ranked
where cache.tenant = ranked.tenant and cache.key = ranked.key and (ranked.number > $1 or ranked.bytes > $2)

-- forget_cached: take out one result by its key
with gone as (delete from cache where tenant = $1 and key = $2 returning 1) select count(*) from gone

-- clear_cached: take out the results of a workflow, of an activity, or made before a time; null stands for any
with gone as (
    delete from cache where tenant = $1 and ($2::text is null or workflow = $2) and ($3::text is null or activity = $3)
        and ($4::bigint is null or at < $4)
    returning 1
)
select count(*) from gone

-- cached_entries: what there is, the last used first
select key, workflow, activity, name, at, expires_at, used_at, saves, hits, size from cache
where tenant = $1 and ($2::text is null or workflow = $2) and ($3::text is null or activity = $3)
order by used_at desc, key limit $4

-- cached_matching: the keys that begin with some digits
select key from cache where tenant = $1 and starts_with(encode(key, 'hex'), lower($2)) limit 2

-- cached_sums: what is kept of each activity, and what it has saved
select workflow, activity, name, count(*), sum(size)::bigint, sum(hits)::bigint, sum(hits * saves)::bigint, min(at),
    count(*) filter (where expires_at <= $2)
from cache where tenant = $1 group by workflow, activity, name order by workflow, activity
