-- schema: results that may be used again, by tenant and key
create table cache (
    tenant text not null,
    key blob not null,
    workflow text not null,
    activity text not null,
    at integer not null,
    expires_at integer not null,
    saves integer not null,
    hits integer not null,
    size integer not null,
    output blob not null,
    primary key (tenant, key)
);
create index cache_by_expiry on cache (expires_at);
