"""The Jobs of an app: the migration command's, the user's, and those that back up and restore."""

from .actions import CreateJob
from .manifests import (
    candidate_name,
    common_container,
    common_pod,
    env,
    given,
    job_name,
    labels,
    owner,
)
from .model import LABEL_ATTEMPT, LABEL_RELEASE, LABEL_REVISION, LABEL_STEP, App, Json, Migrations, Object

WAITING_BUDGET_SECONDS = 900
"""A Job may wait so long for a node, the database or a lock, besides the time to migrate; then a fresh one goes on."""
EXIT_FAILED, EXIT_REFUSED, EXIT_WAITING = 1, 3, 75

GATE_SECONDS = 300
BACKUP_SECONDS = 3600
POSTGRES_IMAGE = "docker.io/library/postgres:18"
POSTGRES_USER = 999
"""Of the official image, whose own default is root."""
TERMINATION_LOG = "/dev/termination-log"

CNPG = "postgresql.cnpg.io/v1"

BACK_UP = """\
set -eu
umask 077
file="/backups/$BACKUP_FILE"
pg_dump --dbname="$INVENTORY_MIGRATION_DATABASE_URL" --no-password --format=custom --file="$file.partial" \\
  2>/tmp/said || { cat /tmp/said; grep ' error: ' /tmp/said; exit 1; } >&2
pg_restore --list "$file.partial" >/dev/null
sync
mv "$file.partial" "$file"
sync
printf %s "$BACKUP_CLAIM/$BACKUP_FILE" >/dev/termination-log
"""
"""A dump has its name only once it is whole and on the disk.

The last line of the log is what people are told: that is the error, and not the query that pg_dump shows after it.
"""

RESTORE = """\
set -eu
file="/backups/$BACKUP_FILE"
pg_restore --list "$file" | sed -e '/ EXTENSION /d' -e '/ SCHEMA /d' >/tmp/list
{
  printf '%s\\n' "BEGIN;" "SET LOCAL lock_timeout = '60s';" "$DROP_OWNED"
  pg_restore --clean --if-exists --exit-on-error --no-owner --use-list=/tmp/list --file=- "$file"
  printf '%s\\n' "COMMIT;"
  touch /tmp/read
} | psql --dbname="$INVENTORY_MIGRATION_DATABASE_URL" --no-password --no-psqlrc --quiet --output=/dev/null \\
  --set=ON_ERROR_STOP=1 --set=VERBOSITY=terse
test -e /tmp/read
printf %s "$BACKUP_CLAIM/$BACKUP_FILE" >/dev/termination-log
"""
"""All or nothing. Extensions and schemas stay: they may be another role's, and the dump is from this database."""

DROP_OWNED = """\
DO $drop$ DECLARE found text; BEGIN
  FOREACH found IN ARRAY ARRAY(
    SELECT format('%s IF EXISTS %s',
                  CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'S' THEN 'SEQUENCE'
                               WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, c.oid::regclass)
      FROM pg_class c
     WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND relpersistence <> 't' AND relowner = current_user::regrole
       AND NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('e', 'i', 'a'))
    UNION ALL
    SELECT format('ROUTINE IF EXISTS %s', p.oid::regprocedure) FROM pg_proc p
     WHERE proowner = current_user::regrole
       AND NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT format('TYPE IF EXISTS %s', t.oid::regtype) FROM pg_type t
     WHERE typowner = current_user::regrole AND typtype IN ('d', 'e', 'r') AND typelem = 0
       AND NOT EXISTS (SELECT FROM pg_depend d
                        WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
  ) LOOP EXECUTE format('DROP %s CASCADE', found); END LOOP;
END $drop$;
"""
"""What came after the backup is not in it, and would be left: later migrations could not make it again.

All names are read first: of what went with something else there would only be a number. Kubernetes takes two dollar
signs in a variable for one that is escaped.
"""


def job(app: App, action: CreateJob) -> Object:
    """The Job, or the Backup of CloudNativePG that takes its place.

    Raises ValueError for one that the spec does not provide for.
    """
    if action.step.startswith("gate"):
        return _gate(app, action)
    if app.migrations is None:
        raise ValueError("the app has no migrations")
    if not action.step.startswith(("backup", "restore")):
        return _migration(app, action, app.migrations)
    if app.migrations.backup is None:
        raise ValueError("the app has no backup")
    make = _backup if action.step.startswith("backup") else _restore
    return make(app, action, app.migrations, app.migrations.backup)


def _migration(app: App, action: CreateJob, migrations: Migrations) -> Object:
    """A run of the image's own migration command."""
    settings = {
        "INVENTORY_APP_UID": app.uid,
        "INVENTORY_MIGRATION_TIMEOUT_SECONDS": str(migrations.timeout),
        "INVENTORY_MIGRATION_WAIT_SECONDS": str(migrations.database_wait),
        "INVENTORY_RELEASE": action.release,
        "INVENTORY_TERMINATION_LOG": TERMINATION_LOG,
    }
    container = {
        "name": "migrate",
        "image": action.image,
        "args": list(action.arguments),
        "env": [*env(app.content.get("config", {})), *env(settings)],
        "envFrom": _from_secrets(migrations.secret),
    }
    found = _job(app, action, "migration", container)
    spec = found["spec"]
    spec["backoffLimit"] = 4
    # Two pods at least get to say what they wait for.
    spec["activeDeadlineSeconds"] = migrations.timeout + max(WAITING_BUDGET_SECONDS, 3 * migrations.database_wait)
    ended = {"containerName": "migrate", "operator": "In"}
    spec["podFailurePolicy"]["rules"] = [
        {"action": "FailJob", "onExitCodes": {**ended, "values": [EXIT_FAILED, EXIT_REFUSED]}},
        {"action": "Ignore", "onExitCodes": {**ended, "values": [EXIT_WAITING]}},
        *spec["podFailurePolicy"]["rules"],
    ]
    return found


def _gate(app: App, action: CreateJob) -> Object:
    wanted: Json = action.job or {}
    settings = {"INVENTORY_URL": f"http://{candidate_name(app)}", "INVENTORY_RELEASE": action.release}
    container = _users(wanted, "gate", action.image, settings)
    return _timed(_job(app, action, "gate", container), wanted.get("timeoutSeconds", GATE_SECONDS))


def _backup(app: App, action: CreateJob, migrations: Migrations, wanted: Json) -> Object:
    name = f"{app.name}-{action.revision}-{action.step.removeprefix('backup')}"
    if "cloudNativePG" in wanted:
        return _cnpg_backup(app, action, wanted["cloudNativePG"])
    if "job" in wanted:
        settings = {"INVENTORY_BACKUP_NAME": job_name(app, action.revision, action.step, action.attempt)}
        container = _users(wanted["job"], "backup", action.image, settings, migrations.secret)
        return _timed(_job(app, action, "backup", container), wanted["job"].get("timeoutSeconds", BACKUP_SECONDS))
    settings = {"BACKUP_CLAIM": wanted["volumeClaim"], "BACKUP_FILE": f"{name}.dump"}
    return _on_volume(app, action, "backup", migrations, wanted, BACK_UP, settings)


def _restore(app: App, action: CreateJob, migrations: Migrations, wanted: Json) -> Object:
    """Of the backup that `reference` of the action's job names."""
    reference = (action.job or {}).get("reference", "")
    if not restorable(wanted) or not reference:
        raise ValueError("the spec has no way to restore a backup")
    if "restoreJob" in wanted:
        settings = {"INVENTORY_BACKUP": reference, "INVENTORY_RELEASE": action.release}
        container = _users(wanted["restoreJob"], "restore", action.image, settings, migrations.secret)
        found = _job(app, action, "migration", container)
        del found["spec"]["podFailurePolicy"]  # nobody knows whether it can be begun a second time
        return _timed(found, wanted["restoreJob"].get("timeoutSeconds", BACKUP_SECONDS))
    claim, _, file = reference.rpartition("/")
    settings = {"BACKUP_CLAIM": claim, "BACKUP_FILE": file, "DROP_OWNED": DROP_OWNED}
    return _on_volume(app, action, "migration", migrations, wanted, RESTORE, settings)


def restorable(backup: Json | None) -> bool:
    """Whether what the spec backs up with can bring it back, too. CloudNativePG restores into a new Cluster only."""
    return backup is not None and ("volumeClaim" in backup or "restoreJob" in backup)


def _on_volume(
    app: App, action: CreateJob, component: str, migrations: Migrations, wanted: Json, script: str, settings: Json
) -> Object:
    container = {
        "name": action.step.rstrip("0123456789"),
        "image": wanted.get("image", POSTGRES_IMAGE),
        "command": ["sh", "-c", script],
        "env": env(dict(settings)),
        "envFrom": _from_secrets(migrations.secret),
    }
    found = _job(app, action, component, container)
    pod = found["spec"]["template"]["spec"]
    pod["securityContext"] |= {
        "runAsUser": POSTGRES_USER,
        "runAsGroup": POSTGRES_USER,
        "fsGroup": POSTGRES_USER,
        "fsGroupChangePolicy": "OnRootMismatch",
    }
    claim = settings["BACKUP_CLAIM"]
    pod["volumes"] = [*pod["volumes"], {"name": "backups", "persistentVolumeClaim": {"claimName": claim}}]
    mounts = pod["containers"][0]["volumeMounts"]
    pod["containers"][0]["volumeMounts"] = [*mounts, {"name": "backups", "mountPath": "/backups"}]
    return _timed(found, wanted.get("timeoutSeconds", BACKUP_SECONDS))


def _cnpg_backup(app: App, action: CreateJob, wanted: Json) -> Object:
    plugin = {"pluginConfiguration": {"name": wanted["plugin"]}} if "plugin" in wanted else {}
    return {
        "apiVersion": CNPG,
        "kind": "Backup",
        "metadata": _meta(app, action, "backup"),
        "spec": {"cluster": {"name": wanted["cluster"]}, **given(wanted, "method"), **plugin},
    }


def _users(wanted: Json, name: str, image: str, settings: dict[str, str], *secrets: str) -> Object:
    """The container of a Job that the user has written."""
    return {
        "name": name,
        "image": wanted.get("image", image),
        **given(wanted, "command", "args"),
        "env": [*env(wanted.get("env", {})), *env(settings)],
        "envFrom": _from_secrets(*secrets, *wanted.get("secrets", ())),
    }


def _job(app: App, action: CreateJob, component: str, container: Object) -> Object:
    """What all Jobs have. It is tried once; only an eviction or a lost node begins it again."""
    # Its nodes are the service's. What keeps pods of the service apart, or brings them together, is not about the Job.
    nodes = given(app.content.get("template", {}).get("affinity", {}), "nodeAffinity")
    meta = _meta(app, action, component)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {
            "parallelism": 1,
            "completions": 1,
            "backoffLimit": 0,
            # A terminating pod still holds its database session: its successor starts only when it is gone.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}],
            },
            "template": {
                "metadata": {"labels": dict(meta["labels"])},
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 30,
                    **({"affinity": nodes} if nodes else {}),
                    "containers": [
                        {
                            **container,
                            "resources": app.content.get("template", {}).get("resources", {}),
                            "terminationMessagePolicy": "FallbackToLogsOnError",
                            **common_container(app),
                        }
                    ],
                    **common_pod(app),
                },
            },
        },
    }


def _timed(found: Object, seconds: int) -> Object:
    found["spec"]["activeDeadlineSeconds"] = seconds
    return found


def _meta(app: App, action: CreateJob, component: str) -> Object:
    own = {
        LABEL_RELEASE: action.release,
        LABEL_REVISION: str(action.revision),
        LABEL_ATTEMPT: str(action.attempt),
        LABEL_STEP: action.step,
    }
    return {
        "name": job_name(app, action.revision, action.step, action.attempt),
        "namespace": app.namespace,
        "labels": labels(app, component) | own,
        "ownerReferences": [owner(app)],
    }


def _from_secrets(*names: str) -> list[Object]:
    return [{"secretRef": {"name": name}} for name in names]
