-- schema: small documents beside the runs, and how often each kind of them has changed
create table documents (
    kind text not null, tenant text not null, name text not null, body blob not null,
    revision integer not null, at integer not null,
    primary key (kind, tenant, name)
) without rowid;
create table document_kinds (kind text primary key, revision integer not null) without rowid;

-- known: whether the file has documents at all; one of an earlier schema has not
select 1 from sqlite_schema where name = 'documents'

-- get: one document
select kind, tenant, name, body, revision, at from documents where kind = ? and tenant = ? and name = ?

-- list: documents of a kind, of one tenant or of all
select kind, tenant, name, body, revision, at from documents
where kind = ?1 and (?2 is null or tenant = ?2) and (tenant, name) > (?3, ?4)
order by tenant, name limit ?5

-- revision: how often a kind has changed
select coalesce((select revision from document_kinds where kind = ?), 0)

-- standing: at which revision a document is
select coalesce((select revision from documents where kind = ? and tenant = ? and name = ?), 0)

-- count: one more change of a kind
insert into document_kinds (kind, revision) values (?, 1)
on conflict (kind) do update set revision = revision + 1 returning revision

-- put: a document as it is now
insert into documents (kind, tenant, name, body, revision, at) values (?1, ?2, ?3, ?4, ?5, ?6)
on conflict (kind, tenant, name) do update set body = ?4, revision = ?5, at = ?6

-- remove: a document that is wanted no more
delete from documents where kind = ? and tenant = ? and name = ?
