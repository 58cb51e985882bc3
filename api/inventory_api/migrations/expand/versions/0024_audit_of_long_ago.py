"""The audit may lose what is older than it is to be kept; of the last 30 days it never loses anything."""

from alembic import op

revision = "0024"
down_revision = "0023"
running_code_is_unharmed = "the trigger looks at what is deleted, and running code deletes nothing: it is refused"

# Whoever deletes says so first, for the transaction, as the service's housekeeping does. Else nothing is changed by
# mistake, as before.
_REFUSE = """
CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND TG_LEVEL = 'STATEMENT' AND current_setting('inventory.audit_forgets', true) = 'on' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% is not changed: what happened, happened', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$
"""
# As in 0002.
_REFUSE_ALWAYS = """
CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is not changed: what happened, happened', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END $$
"""


def upgrade() -> None:
    op.execute(
        """
        CREATE TRIGGER recent_ones_stay BEFORE DELETE ON audit_events
            FOR EACH ROW WHEN (OLD.at > now() - interval '30 days') EXECUTE FUNCTION audit_refuse()
        """
    )
    op.execute(_REFUSE)


def downgrade() -> None:
    op.execute("DROP TRIGGER recent_ones_stay ON audit_events")
    op.execute(_REFUSE_ALWAYS)
