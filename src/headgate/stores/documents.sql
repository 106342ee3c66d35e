-- schema: small documents beside the runs, and how often each kind of them has changed
create table documents (
    kind text not null, tenant text not null, name text not null, body blob not null,
    revision integer not null, at integer not null,
    primary key (kind, tenant, name)
) without rowid;
create table document_kinds (kind text primary key, revision integer not null) without rowid;

-- take_over: what earlier schemas kept in tables of its own; and the streams of a process that has ended
insert into documents (kind, tenant, name, body, revision, at)
select 'schedule', tenant, name, body, row_number() over (order by tenant, name), created_at from schedules;
insert into documents (kind, tenant, name, body, revision, at)
select 'budget_rule', tenant, scope || '/' || period, body, row_number() over (order by tenant, scope, period), 0
from budget_rules;
insert into document_kinds (kind, revision) select kind, max(revision) from documents group by kind;
drop table schedules;
drop table budget_rules;
drop table if exists streams;

-- before_schema_4: what readers of a file of schema 3, who must not change it, see in the place of the tables
create temp view documents as
select 'schedule' as kind, tenant, name, body, 1 as revision, created_at as at from main.schedules
union all select 'budget_rule', tenant, scope || '/' || period, body, 1, 0 from main.budget_rules;
create temp view document_kinds as select distinct kind, revision from documents;

-- before_schema_3: and readers of a file of schema 2
create temp view documents as
select 'schedule' as kind, tenant, name, body, 1 as revision, created_at as at from main.schedules;
create temp view document_kinds as select distinct kind, revision from documents;

-- known: whether the file has documents at all; one of schema 1 has not
select 1 from sqlite_schema where name = 'documents' union all select 1 from sqlite_temp_schema where name = 'documents'

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
