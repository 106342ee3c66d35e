-- schema: turns by their position in a conversation, and the newest summary of each
create table turns (
    conversation text not null,
    position integer not null,
    digest blob not null,
    role text not null,
    content text not null,
    primary key (conversation, position),
    unique (conversation, digest)
) strict, without rowid;
create table summaries (
    conversation text primary key,
    covers integer not null,
    content text not null
) strict;

-- position_of: where a turn stands that is there already
select position from turns where conversation = ? and digest = ?;

-- last: the position of the newest turn; 0 where there is none
select coalesce(max(position), 0) from turns where conversation = ?;

-- insert_turn: one turn at the end
insert into turns (conversation, position, digest, role, content) values (?, ?, ?, ?, ?);

-- newest: turns behind a position, the newest first
select position, role, content from turns where conversation = ? and position > ? order by position desc limit ?;

-- oldest: turns behind a position and up to another, the oldest first
select position, role, content from turns where conversation = ? and position > ? and position <= ? order by position;

-- summary: what stands for the turns up to a position
select covers, content from summaries where conversation = ?;

-- keep_summary: put a summary in the place of one that covers less
insert into summaries (conversation, covers, content) values (?, ?, ?)
on conflict (conversation) do update set covers = excluded.covers, content = excluded.content
where excluded.covers > summaries.covers;
