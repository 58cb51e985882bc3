\set item random(1, :items)
\set key random(1, 1000000000000)
BEGIN;
SELECT pg_try_advisory_xact_lock(hashtextextended(:key::text, 0));
SELECT fingerprint, status, body FROM idempotency_keys WHERE user_id = :user AND operation = 'check-out' AND key = :key::text;
SELECT id, sku, tracking, quantity, archived_at FROM items WHERE id = :item FOR NO KEY UPDATE;
SELECT location_id, on_hand - reserved AS available FROM stock_levels WHERE item_id = :item ORDER BY available DESC, location_id LIMIT 1 \gset level_
INSERT INTO loans (item_id, user_id, quantity, lent_by, due_at, location_id) VALUES (:item, :user, 1, :user, '2090-01-01', :level_location_id) RETURNING id \gset
INSERT INTO stock_entries (item_id, location_id, kind, on_hand, on_loan, loan_id, actor_id) VALUES (:item, :level_location_id, 'loan', -1, 1, :id, :user) RETURNING id;
INSERT INTO idempotency_keys (user_id, operation, key, fingerprint, status, body) VALUES (:user, 'check-out', :key::text, decode('00', 'hex'), 201, jsonb_build_object('id', 1, 'item_id', 1, 'quantity', 1, 'units', ARRAY[]::int[]));
COMMIT;
