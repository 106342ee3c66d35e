-- schema: results that may be used again, by tenant and key
create table cache (
    tenant text not null,
    key blob not null,
    workflow text not null,
    activity text not null,
    name text not null,
    at integer not null,
    expires_at integer not null,
    used_at integer not null,
    saves integer not null,
    hits integer not null,
    size integer not null,
    digest blob not null,
    output blob not null,
    primary key (tenant, key)
);
create index cache_by_expiry on cache (expires_at);
create index cache_by_use on cache (used_at, size);

-- find: a result that still holds
select workflow, activity, name, at, expires_at, saves, digest, output from cache
where tenant = ? and key = ? and expires_at > ?;

-- keep: one result or several, each in the place of its predecessor; the rows of values follow
insert or replace into cache
    (tenant, key, workflow, activity, name, at, expires_at, used_at, saves, hits, size, digest, output)
values

-- touch: count the uses of results; the rows of values stand for {rows}
with touched (tenant, key, hits, used_at) as (values {rows})
update cache set hits = cache.hits + touched.hits, used_at = max(cache.used_at, touched.used_at)
from touched where cache.tenant = touched.tenant and cache.key = touched.key;

-- total: how many results there are, and their size
select count(*), coalesce(sum(size), 0) from cache;

-- forget_expired: take out what no longer holds
delete from cache where expires_at <= ?;

-- forget_least_used: keep the results that were used last, as many of them and as large as they may be
delete from cache where rowid in (
    select rowid from (
        select rowid, row_number() over newest as number, sum(size) over newest as bytes
        from cache window newest as (order by used_at desc, rowid desc rows unbounded preceding)
    ) where number > ? or bytes > ?
);

-- forget: take out one result by its key
delete from cache where tenant = ? and key = ?;

-- clear: take out the results of a workflow, of an activity, or made before a time; null stands for any
delete from cache
where tenant = ?1 and (?2 is null or workflow = ?2) and (?3 is null or activity = ?3) and (?4 is null or at < ?4);

-- entries: what there is, the last used first
select key, workflow, activity, name, at, expires_at, used_at, saves, hits, size from cache
where tenant = ?1 and (?2 is null or workflow = ?2) and (?3 is null or activity = ?3)
order by used_at desc, rowid desc limit ?4;

-- matching: the keys that begin with some bytes
select key from cache where tenant = ?1 and substr(hex(key), 1, length(?2)) = upper(?2) limit 2;

-- sums: what is kept of each activity, and what it has saved
select workflow, activity, name, count(*), sum(size), sum(hits), sum(hits * saves), min(at), sum(expires_at <= ?2)
from cache where tenant = ?1 group by workflow, activity, name order by workflow, activity;
