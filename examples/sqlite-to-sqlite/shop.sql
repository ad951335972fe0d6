pragma journal_mode = wal;
create table orders (id integer primary key, customer text not null, status text not null);
insert into orders (customer, status) values ('Ada', 'paid'), ('Björn', 'draft'), ('Chidi', 'shipped');
