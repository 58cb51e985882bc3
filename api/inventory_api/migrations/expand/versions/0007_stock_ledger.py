"""The ledger of stock, from which every figure comes; and a bridge for code that still writes the figures itself.

An entry's trigger changes the item's totals and the level at the location, in this order, so that whoever moves stock
of one item stands in one line. Levels change in no other way, and entries not at all.

The bridge: releases that know no ledger write `items.quantity` and `items.on_loan` themselves. Whatever they write is
entered in the ledger for them, so that old and new pods may serve at the same time, and an old release may come back.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
running_code_is_unharmed = (
    "the triggers enter into the ledger what running code writes; of its writes they refuse only those that would take "
    "what is reserved or a single unit, which it knows nothing of; and the foreign key is of a column that it leaves "
    "empty"
)

_ENTER = """
CREATE FUNCTION stock_enter() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    -- Deeper down it is the bridge that enters: the item has its figures already.
    IF pg_trigger_depth() = 1 THEN
        UPDATE items SET
            quantity = quantity + NEW.on_hand + NEW.on_loan,
            on_loan = on_loan + NEW.on_loan,
            reserved = reserved + NEW.reserved
        WHERE id = NEW.item_id;
    END IF;
    UPDATE stock_levels SET
        on_hand = on_hand + NEW.on_hand, on_loan = on_loan + NEW.on_loan, reserved = reserved + NEW.reserved
    WHERE item_id = NEW.item_id AND location_id = NEW.location_id;
    IF NOT FOUND THEN
        INSERT INTO stock_levels (item_id, location_id, on_hand, on_loan, reserved)
        VALUES (NEW.item_id, NEW.location_id, NEW.on_hand, NEW.on_loan, NEW.reserved);
    END IF;
    RETURN NULL;
END $$
"""

_REFUSE = """
CREATE FUNCTION stock_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is not changed by hand: add an entry to stock_entries', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$
"""

# What an old release adds has all its pieces on the shelf of the first location.
_BRIDGE_NEW_ITEM = """
CREATE FUNCTION bridge_new_item() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO stock_entries (item_id, location_id, kind, on_hand, on_loan)
    SELECT NEW.id, min(id), 'receive', NEW.quantity - NEW.on_loan, NEW.on_loan FROM locations;
    RETURN NULL;
END $$
"""

# An old release returns a loan as a whole, also one of which a part is back: only what was still out comes back.
_BRIDGE_RETURN = """
CREATE FUNCTION bridge_return() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM set_config('inventory.bridged_return', (NEW.quantity - NEW.returned - NEW.lost)::text, true),
        set_config('inventory.bridged_location', coalesce(NEW.location_id::text, ''), true);
    NEW.returned = NEW.quantity - NEW.lost;
    RETURN NEW;
END $$
"""

_BRIDGE_FIGURES = """
CREATE FUNCTION bridge_figures() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF NEW.tracking <> 'quantity' THEN
        -- The code by which that release answers 503: it can't lend this, and need not break over it.
        RAISE EXCEPTION 'this release knows nothing of units and kits' USING ERRCODE = 'lock_not_available';
    END IF;
    IF NEW.on_loan < OLD.on_loan AND coalesce(current_setting('inventory.bridged_return', true), '') <> '' THEN
        NEW.on_loan = OLD.on_loan - current_setting('inventory.bridged_return')::integer;
    END IF;
    IF NEW.reserved > NEW.quantity - NEW.on_loan THEN
        RAISE EXCEPTION 'all that is on hand is reserved' USING ERRCODE = 'lock_not_available';
    END IF;
    RETURN NEW;
END $$
"""

_BRIDGE_ENTER = """
CREATE FUNCTION bridge_enter() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    lent integer = NEW.on_loan - OLD.on_loan;
    added integer = NEW.quantity - OLD.quantity;
    place bigint = nullif(current_setting('inventory.bridged_location', true), '')::bigint;
BEGIN
    IF lent > 0 OR place IS NULL THEN
        SELECT location_id INTO place FROM stock_levels
        WHERE item_id = NEW.id AND on_hand - reserved >= lent - added AND on_loan + lent >= 0
        ORDER BY on_hand - reserved DESC, location_id LIMIT 1;
    END IF;
    IF place IS NULL THEN
        RAISE EXCEPTION 'all that is on hand is reserved, or no location has enough of it'
            USING ERRCODE = 'lock_not_available';
    END IF;
    PERFORM set_config('inventory.bridged_location', place::text, true);
    INSERT INTO stock_entries (item_id, location_id, kind, on_hand, on_loan)
    VALUES (
        NEW.id, place, CASE WHEN lent > 0 THEN 'loan' WHEN lent < 0 THEN 'return' ELSE 'adjust' END, added - lent, lent
    );
    RETURN NULL;
END $$
"""

_BRIDGE_LOAN = """
CREATE FUNCTION bridge_loan() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    NEW.location_id = nullif(current_setting('inventory.bridged_location', true), '')::bigint;
    RETURN NEW;
END $$
"""

_FUNCTIONS = (
    _ENTER,
    _REFUSE,
    _BRIDGE_NEW_ITEM,
    _BRIDGE_RETURN,
    _BRIDGE_FIGURES,
    _BRIDGE_ENTER,
    _BRIDGE_LOAN,
)

_TRIGGERS = """
CREATE TRIGGER enter AFTER INSERT ON stock_entries FOR EACH ROW EXECUTE FUNCTION stock_enter();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON stock_entries
    FOR EACH STATEMENT EXECUTE FUNCTION stock_refuse();
CREATE TRIGGER by_entries_only BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON stock_levels
    FOR EACH STATEMENT WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION stock_refuse();
"""

_BRIDGE_TRIGGERS = """
CREATE TRIGGER bridge_new_item AFTER INSERT ON items
    FOR EACH ROW WHEN (NEW.quantity <> 0) EXECUTE FUNCTION bridge_new_item();
CREATE TRIGGER bridge_figures BEFORE UPDATE OF quantity, on_loan ON items
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION bridge_figures();
CREATE TRIGGER bridge_enter AFTER UPDATE OF quantity, on_loan ON items
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION bridge_enter();
CREATE TRIGGER bridge_loan BEFORE INSERT ON loans
    FOR EACH ROW WHEN (NEW.location_id IS NULL) EXECUTE FUNCTION bridge_loan();
CREATE TRIGGER bridge_return BEFORE UPDATE OF returned_at ON loans
    FOR EACH ROW WHEN (OLD.returned_at IS NULL AND NEW.returned_at IS NOT NULL
        AND NEW.returned = OLD.returned AND NEW.lost = OLD.lost) EXECUTE FUNCTION bridge_return();
"""


def upgrade() -> None:
    op.execute(
        """
        ALTER TABLE loans
            ADD COLUMN location_id bigint,
            ADD COLUMN returned integer DEFAULT 0 NOT NULL,
            ADD COLUMN lost integer DEFAULT 0 NOT NULL,
            ADD COLUMN renewals integer DEFAULT 0 NOT NULL,
            ADD COLUMN kit_loan_id bigint,
            ADD COLUMN note text DEFAULT '' NOT NULL
        """
    )
    op.execute(
        "ALTER TABLE loans ADD CONSTRAINT loans_location_id_fkey FOREIGN KEY (location_id) REFERENCES locations (id) "
        "NOT VALID"
    )
    op.execute(
        """
        CREATE TABLE loan_units (
            loan_id bigint CONSTRAINT loan_units_loan_id_fkey REFERENCES loans (id),
            unit_id bigint CONSTRAINT loan_units_unit_id_fkey REFERENCES units (id),
            returned_at timestamptz,
            lost boolean DEFAULT false NOT NULL,
            condition text DEFAULT '' NOT NULL,
            CONSTRAINT loan_units_pkey PRIMARY KEY (loan_id, unit_id)
        )
        """
    )
    op.execute("CREATE INDEX loan_units_unit_id_idx ON loan_units (unit_id)")
    op.execute(
        """
        CREATE TABLE stock_entries (
            id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT stock_entries_pkey PRIMARY KEY,
            item_id bigint NOT NULL CONSTRAINT stock_entries_item_id_fkey REFERENCES items (id),
            location_id bigint NOT NULL CONSTRAINT stock_entries_location_id_fkey REFERENCES locations (id),
            unit_id bigint CONSTRAINT stock_entries_unit_id_fkey REFERENCES units (id),
            kind text NOT NULL CONSTRAINT stock_entries_kind_check CHECK (kind IN (
                'receive', 'move', 'adjust', 'loan', 'return', 'lost', 'write-off', 'hold', 'release')),
            on_hand integer DEFAULT 0 NOT NULL,
            on_loan integer DEFAULT 0 NOT NULL,
            reserved integer DEFAULT 0 NOT NULL,
            loan_id bigint CONSTRAINT stock_entries_loan_id_fkey REFERENCES loans (id),
            actor_id bigint CONSTRAINT stock_entries_actor_id_fkey REFERENCES users (id),
            reason text DEFAULT '' NOT NULL,
            at timestamptz DEFAULT now() NOT NULL
        )
        """
    )
    op.execute("CREATE INDEX stock_entries_item_id_id_idx ON stock_entries (item_id, id)")
    op.execute("CREATE INDEX stock_entries_location_id_id_idx ON stock_entries (location_id, id)")
    op.execute("CREATE INDEX stock_entries_loan_id_idx ON stock_entries (loan_id) WHERE loan_id IS NOT NULL")
    op.execute("CREATE INDEX stock_entries_unit_id_idx ON stock_entries (unit_id) WHERE unit_id IS NOT NULL")
    op.execute(
        """
        CREATE TABLE stock_levels (
            item_id bigint CONSTRAINT stock_levels_item_id_fkey REFERENCES items (id),
            location_id bigint CONSTRAINT stock_levels_location_id_fkey REFERENCES locations (id),
            on_hand integer NOT NULL CONSTRAINT stock_levels_on_hand_check CHECK (on_hand >= 0),
            on_loan integer NOT NULL CONSTRAINT stock_levels_on_loan_check CHECK (on_loan >= 0),
            reserved integer NOT NULL CONSTRAINT stock_levels_reserved_check CHECK (reserved BETWEEN 0 AND on_hand),
            CONSTRAINT stock_levels_pkey PRIMARY KEY (item_id, location_id)
        ) WITH (fillfactor = 80)
        """
    )
    op.execute("CREATE INDEX stock_levels_location_id_item_id_idx ON stock_levels (location_id, item_id)")
    for function in _FUNCTIONS:
        op.execute(function)
    # From here on, running code waits with its writes until the end of this migration, and is bridged after it.
    for trigger in _BRIDGE_TRIGGERS.split(";\n"):
        if trigger.strip():
            op.execute(trigger)
    op.execute(
        """
        INSERT INTO stock_entries (item_id, location_id, kind, on_hand, on_loan, reason)
        SELECT items.id, (SELECT min(id) FROM locations), 'receive', quantity - on_loan, on_loan, 'opening balance'
        FROM items WHERE quantity > 0
        """
    )
    op.execute(
        """
        INSERT INTO stock_levels (item_id, location_id, on_hand, on_loan, reserved)
        SELECT item_id, location_id, on_hand, on_loan, reserved FROM stock_entries
        """
    )
    op.execute(
        "ALTER TABLE items ADD CONSTRAINT items_reserved_check CHECK (reserved BETWEEN 0 AND quantity - on_loan) "
        "NOT VALID"
    )
    for trigger in _TRIGGERS.split(";\n"):
        if trigger.strip():
            op.execute(trigger)


def downgrade() -> None:
    op.execute("ALTER TABLE items DROP CONSTRAINT items_reserved_check")
    op.execute("DROP TABLE stock_levels, stock_entries, loan_units")
    op.execute(
        """
        DROP FUNCTION stock_enter(), stock_refuse(), bridge_new_item(), bridge_return(), bridge_figures(),
            bridge_enter(), bridge_loan() CASCADE
        """
    )
    op.execute(
        """
        ALTER TABLE loans DROP COLUMN location_id, DROP COLUMN returned, DROP COLUMN lost, DROP COLUMN renewals,
            DROP COLUMN kit_loan_id, DROP COLUMN note
        """
    )
