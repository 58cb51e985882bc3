"""Reservations, and the rule that no moment is promised to more people than there are pieces.

A claim on an item is a reservation that is booked or set aside, or a loan that is open, which lasts until it is due;
what is overdue is expected back at any moment. Whoever adds a claim stands in the item's line, by its row's lock, and
is refused where the claims of one moment come to more than is owned. Of a unit, no two claims overlap: a constraint
refuses that.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
running_code_is_unharmed = (
    "the triggers look only at items that are reserved: there, running code lends what is free until the loan is due, "
    "and gets for the rest the error by which it answers 503"
)

# From each row's moment until the next row's, so much is claimed. `since` isn't in the past, or what was lent and came
# back since would be missing. A plan for any item may go through the whole history of one, which takes far longer than
# to plan for each.
_CLAIMED = """
CREATE FUNCTION claimed_over_time(item bigint, since timestamptz, until timestamptz)
RETURNS TABLE (at timestamptz, claimed bigint) LANGUAGE sql STABLE
SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
    WITH claims AS (
        -- What is set aside is off the shelf, also before its time.
        SELECT
            quantity, CASE status WHEN 'ready' THEN since ELSE greatest(starts_at, since) END AS starts, ends_at AS ends
        FROM reservations
        WHERE item_id = item AND status IN ('booked', 'ready') AND ends_at > since
            AND (status = 'ready' OR starts_at < until)
        UNION ALL
        SELECT quantity - returned - lost, since, due_at
        FROM loans
        WHERE item_id = item AND returned_at IS NULL AND due_at > since
    ), changes AS (
        SELECT starts AS at, quantity FROM claims
        UNION ALL
        SELECT ends, -quantity FROM claims WHERE ends < until
        UNION ALL
        SELECT since, 0
    )
    SELECT at, (sum(sum(quantity)) OVER (ORDER BY at))::bigint FROM changes GROUP BY at ORDER BY at
$$
"""

# Units are not counted: the constraint on their bookings knows each.
_REFUSE = """
CREATE FUNCTION refuse_overbooking(item bigint, since timestamptz, until timestamptz)
RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    owned integer;
    busiest record;
BEGIN
    SELECT quantity INTO owned FROM items WHERE id = item AND tracking = 'quantity';
    IF owned IS NULL OR since >= until THEN
        RETURN;
    END IF;
    SELECT * INTO busiest FROM claimed_over_time(item, since, until) WHERE claimed > owned ORDER BY at LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'of item %, % would be claimed at %, but % are owned', item, busiest.claimed, busiest.at, owned
            USING DETAIL = busiest.at, ERRCODE = CASE
                -- The code by which the first release answers 503; it lends through the bridge.
                WHEN coalesce(current_setting('inventory.bridged_location', true), '') <> '' THEN '55P03'
                ELSE 'RV001'
            END;
    END IF;
END $$
"""

_RESERVATION = """
CREATE FUNCTION reservation_claims() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    since timestamptz = CASE NEW.status WHEN 'ready' THEN now() ELSE greatest(NEW.starts_at, now()) END;
    until timestamptz = NEW.ends_at;
    span tstzrange;
BEGIN
    IF NEW.status NOT IN ('booked', 'ready') THEN
        DELETE FROM unit_bookings WHERE reservation_id = NEW.id;
        RETURN NULL;
    END IF;
    PERFORM FROM items WHERE id = NEW.item_id FOR NO KEY UPDATE;
    IF TG_OP = 'UPDATE' THEN
        span = tstzrange(CASE NEW.status WHEN 'ready' THEN now() ELSE NEW.starts_at END, until);
        UPDATE unit_bookings SET during = span WHERE reservation_id = NEW.id AND during <> span;
        -- What it claimed before it keeps, also where stock has left meanwhile: only the time before that is new.
        IF OLD.status IN ('booked', 'ready') AND NEW.item_id = OLD.item_id
            AND NEW.quantity <= OLD.quantity AND NEW.ends_at <= OLD.ends_at
        THEN
            until = CASE OLD.status WHEN 'ready' THEN since ELSE least(until, OLD.starts_at) END;
        END IF;
    END IF;
    PERFORM refuse_overbooking(NEW.item_id, since, until);
    RETURN NULL;
END $$
"""

_LOAN = """
CREATE FUNCTION loan_claims() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM items WHERE id = NEW.item_id FOR NO KEY UPDATE;
    IF EXISTS (
        SELECT FROM reservations
        WHERE item_id = NEW.item_id AND status IN ('booked', 'ready') AND ends_at > now()
            AND (status = 'ready' OR starts_at < NEW.due_at)
    ) THEN
        PERFORM refuse_overbooking(NEW.item_id, now(), NEW.due_at);
    END IF;
    RETURN NULL;
END $$
"""

_LOAN_UNITS = """
CREATE FUNCTION loan_books_unit() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    INSERT INTO unit_bookings (unit_id, loan_id, during)
    SELECT NEW.unit_id, id, tstzrange(now(), due_at) FROM loans WHERE id = NEW.loan_id AND due_at > now();
    RETURN NULL;
END $$
"""

_LOAN_RENEWED = """
CREATE FUNCTION loan_books_units_longer() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE unit_bookings SET during = tstzrange(lower(during), greatest(NEW.due_at, lower(during) + '1 microsecond'))
    WHERE loan_id = NEW.id;
    RETURN NULL;
END $$
"""

_LOAN_FREES_UNIT = """
CREATE FUNCTION loan_frees_unit() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM unit_bookings WHERE loan_id = NEW.loan_id AND unit_id = NEW.unit_id;
    RETURN NULL;
END $$
"""

_FUNCTIONS = (_CLAIMED, _REFUSE, _RESERVATION, _LOAN, _LOAN_UNITS, _LOAN_RENEWED, _LOAN_FREES_UNIT)

_TRIGGERS = """
CREATE TRIGGER claims AFTER INSERT OR UPDATE OF item_id, status, quantity, starts_at, ends_at ON reservations
    FOR EACH ROW EXECUTE FUNCTION reservation_claims();
CREATE TRIGGER claims AFTER INSERT ON loans
    FOR EACH ROW WHEN (NEW.returned_at IS NULL) EXECUTE FUNCTION loan_claims();
CREATE TRIGGER claims_more AFTER UPDATE OF due_at, quantity ON loans
    FOR EACH ROW WHEN (NEW.returned_at IS NULL AND (NEW.due_at > OLD.due_at OR NEW.quantity > OLD.quantity))
    EXECUTE FUNCTION loan_claims();
CREATE TRIGGER books_units_longer AFTER UPDATE OF due_at ON loans
    FOR EACH ROW WHEN (NEW.due_at <> OLD.due_at) EXECUTE FUNCTION loan_books_units_longer();
CREATE TRIGGER books AFTER INSERT ON loan_units
    FOR EACH ROW WHEN (NEW.returned_at IS NULL AND NOT NEW.lost) EXECUTE FUNCTION loan_books_unit();
CREATE TRIGGER frees AFTER UPDATE OF returned_at, lost ON loan_units
    FOR EACH ROW WHEN (NEW.returned_at IS NOT NULL OR NEW.lost) EXECUTE FUNCTION loan_frees_unit();
"""


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE reservations (
            id bigint GENERATED BY DEFAULT AS IDENTITY CONSTRAINT reservations_pkey PRIMARY KEY,
            item_id bigint NOT NULL CONSTRAINT reservations_item_id_fkey REFERENCES items (id),
            unit_id bigint CONSTRAINT reservations_unit_id_fkey REFERENCES units (id),
            location_id bigint CONSTRAINT reservations_location_id_fkey REFERENCES locations (id),
            user_id bigint NOT NULL CONSTRAINT reservations_user_id_fkey REFERENCES users (id),
            quantity integer NOT NULL CONSTRAINT reservations_quantity_check CHECK (quantity > 0),
            status text NOT NULL CONSTRAINT reservations_status_check CHECK (
                status IN ('booked', 'waiting', 'ready', 'fulfilled', 'cancelled', 'expired')),
            starts_at timestamptz,
            ends_at timestamptz,
            set_aside_at timestamptz,
            expires_at timestamptz,
            hold_seconds integer NOT NULL CONSTRAINT reservations_hold_seconds_check CHECK (hold_seconds > 0),
            loan_id bigint CONSTRAINT reservations_loan_id_fkey REFERENCES loans (id),
            created_by bigint NOT NULL CONSTRAINT reservations_created_by_fkey REFERENCES users (id),
            created_at timestamptz DEFAULT now() NOT NULL,
            closed_at timestamptz,
            CONSTRAINT reservations_dates_check CHECK (
                (starts_at IS NULL) = (ends_at IS NULL) AND starts_at < ends_at
                AND isfinite(starts_at) AND isfinite(ends_at)),
            CONSTRAINT reservations_booked_check CHECK (
                status <> 'booked' OR (starts_at IS NOT NULL AND set_aside_at IS NOT NULL)),
            CONSTRAINT reservations_waiting_check CHECK (
                status <> 'waiting' OR (starts_at IS NULL AND unit_id IS NULL)),
            CONSTRAINT reservations_ready_check CHECK (
                status <> 'ready' OR (starts_at IS NOT NULL AND expires_at IS NOT NULL AND location_id IS NOT NULL)),
            CONSTRAINT reservations_unit_check CHECK (unit_id IS NULL OR quantity = 1),
            CONSTRAINT reservations_loan_check CHECK (loan_id IS NULL OR status = 'fulfilled'),
            CONSTRAINT reservations_closed_check CHECK (
                (closed_at IS NOT NULL) = (status IN ('fulfilled', 'cancelled', 'expired')))
        )
        """
    )
    op.execute("CREATE INDEX reservations_item_id_id_idx ON reservations (item_id, id)")
    op.execute("CREATE INDEX reservations_user_id_id_idx ON reservations (user_id, id)")
    op.execute(
        "CREATE INDEX reservations_claims_idx ON reservations (item_id, ends_at) WHERE status IN ('booked', 'ready')"
    )
    op.execute("CREATE INDEX reservations_waiting_idx ON reservations (item_id, id) WHERE status = 'waiting'")
    op.execute("CREATE INDEX reservations_booked_idx ON reservations (set_aside_at) WHERE status = 'booked'")
    op.execute("CREATE INDEX reservations_ready_idx ON reservations (expires_at) WHERE status = 'ready'")
    op.execute(
        """
        CREATE TABLE unit_bookings (
            id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT unit_bookings_pkey PRIMARY KEY,
            unit_id bigint NOT NULL CONSTRAINT unit_bookings_unit_id_fkey REFERENCES units (id),
            during tstzrange NOT NULL,
            reservation_id bigint CONSTRAINT unit_bookings_reservation_id_fkey REFERENCES reservations (id),
            loan_id bigint CONSTRAINT unit_bookings_loan_id_fkey REFERENCES loans (id),
            CONSTRAINT unit_bookings_owner_check CHECK (num_nonnulls(reservation_id, loan_id) = 1),
            -- An empty range overlaps nothing, and would pass the constraint.
            CONSTRAINT unit_bookings_during_check CHECK (
                NOT isempty(during) AND lower_inc(during) AND NOT upper_inc(during) AND NOT upper_inf(during)),
            CONSTRAINT unit_bookings_overlap_excl
                EXCLUDE USING gist (int8range(unit_id, unit_id, '[]') WITH &&, during WITH &&)
        )
        """
    )
    op.execute(
        "CREATE INDEX unit_bookings_reservation_id_idx ON unit_bookings (reservation_id) "
        "WHERE reservation_id IS NOT NULL"
    )
    op.execute("CREATE INDEX unit_bookings_loan_id_idx ON unit_bookings (loan_id) WHERE loan_id IS NOT NULL")
    for function in _FUNCTIONS:
        op.execute(function)
    for trigger in _TRIGGERS.split(";\n"):
        if trigger.strip():
            op.execute(trigger)


def downgrade() -> None:
    op.execute("DROP TABLE unit_bookings, reservations")
    op.execute(
        """
        DROP FUNCTION claimed_over_time(bigint, timestamptz, timestamptz),
            refuse_overbooking(bigint, timestamptz, timestamptz), reservation_claims(), loan_claims(),
            loan_books_unit(), loan_books_units_longer(), loan_frees_unit() CASCADE
        """
    )
