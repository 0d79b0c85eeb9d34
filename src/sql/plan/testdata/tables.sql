CREATE TABLE t (id int PRIMARY KEY, name text, price numeric(10,2), big bigint, real real, code char(4), anynum numeric, day date, ts timestamp, uid uuid)
INSERT INTO t VALUES (1, 'alpha', 10.50, 9000000000000000000, 1.5, 'ab', 1.5, '2024-02-29', '2024-02-29 10:00:00', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), (2, 'beta', 3.00, 9000000000000000000, 2.25, 'b', 100, '2023-01-01', '2023-01-01 00:00:00', NULL), (3, 'alpha', NULL, 5, NULL, 'ab', 0.001, NULL, NULL, NULL), (4, NULL, 0.01, NULL, 0, NULL, NULL, '2024-12-31', '2024-12-31 23:59:59.5', NULL)
CREATE TABLE u (t_id int NOT NULL, k int NOT NULL, note text, PRIMARY KEY (t_id, k))
INSERT INTO u VALUES (1, 1, 'first'), (1, 2, 'second'), (3, 1, 'third')
