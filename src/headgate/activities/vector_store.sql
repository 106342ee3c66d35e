-- schema: what a collection consists of: one model, the vectors of texts, items, and the words of their texts
create table collection (
    only_row integer primary key check (only_row = 1),
    model text not null,
    dimension integer not null
) strict;
create table vectors (
    model text not null,
    dimension integer not null,
    digest blob not null,
    vector blob not null,
    primary key (model, dimension, digest)
) strict, without rowid;
create table items (
    number integer primary key,
    id text not null unique,
    text text not null,
    metadata text not null,
    digest blob not null
) strict;
create index items_by_digest on items (digest);
create virtual table words using fts5 (
    text, content = 'items', content_rowid = 'number', tokenize = 'unicode61 remove_diacritics 2'
);
create trigger item_inserted after insert on items begin
    insert into words (rowid, text) values (new.number, new.text);
end;
create trigger item_deleted after delete on items begin
    insert into words (words, rowid, text) values ('delete', old.number, old.text);
end;
create trigger item_updated after update of text on items begin
    insert into words (words, rowid, text) values ('delete', old.number, old.text);
    insert into words (rowid, text) values (new.number, new.text);
end;

-- collection: the model and dimension of the collection
select model, dimension from collection;

-- name_collection: settle the model and dimension
insert or replace into collection (only_row, model, dimension) values (1, ?, ?);

-- kept_dimension: the dimension of most vectors that are kept of a model
select dimension from vectors where model = ? group by dimension order by count(*) desc, dimension limit 1;

-- known_vectors: which of these texts have a vector of this model and dimension
select digest from vectors
where model = ? and dimension = ? and digest in (select unhex(value) from json_each(?));

-- keep_vector: keep the vector of a text
insert or ignore into vectors (model, dimension, digest, vector) values (?, ?, ?, ?);

-- item: what is stored under an id
select text, metadata, digest from items where id = ?;

-- keep_item: insert an item, or put it in the place of the one with its id
insert into items (id, text, metadata, digest) values (?, ?, ?, ?)
on conflict (id) do update set text = excluded.text, metadata = excluded.metadata, digest = excluded.digest;

-- ids: the ids of all items, and the digests of their texts
select id, digest from items;

-- remove_item: take an item out
delete from items where id = ?;

-- forget_vector: remove the vectors of a text that no item has any more
delete from vectors
where model = (select model from collection) and dimension = (select dimension from collection)
and digest = :digest and not exists (select 1 from items where items.digest = :digest);

-- forget_other_models: remove the vectors that are not of the collection's model and dimension
delete from vectors
where model is not (select model from collection) or dimension is not (select dimension from collection);

-- without_vector: how many items have none of the collection's model and dimension
select count(*) from items where not exists (
    select 1 from vectors
    where model = (select model from collection) and dimension = (select dimension from collection)
    and vectors.digest = items.digest
);

-- count: how many items there are
select count(*) from items;

-- scan: every item that fits, with its vector
select items.number, items.id, vectors.vector
from items join vectors on vectors.digest = items.digest
where vectors.model = ? and vectors.dimension = ? and fits(items.metadata)
order by items.number;

-- match: the items that hold a word of the query, the best first
select items.number, items.id, -bm25(words) as relevance
from words join items on items.number = words.rowid
where words match ? and fits(items.metadata)
order by relevance desc, items.id
limit ?;

-- items_of: items by their numbers
select number, id, text, metadata from items where number in (select value from json_each(?));
