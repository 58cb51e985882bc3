"""Files that the platform brings into the pods: what settings name is there, for the service and for its migrations."""

from tests.cluster.installation import JOB_PODS, NAME, SERVICE_PODS, Installation
from tests.cluster.installations import Installations

FOLDER = "/run/secrets/inventory"


def test_service_and_migrations_read_what_is_mounted(installations: Installations) -> None:
    """Secrets and the authority of a certificate alike: as files, with no Secret in the service's environment."""
    app = installations.new(
        postgres={"enabled": False},
        secrets={"migrations": {"existingSecret": "owner"}},
        app={
            "config": {"INVENTORY_DATABASE_URL_FILE": f"{FOLDER}/url", "INVENTORY_SECRET_KEY_FILE": f"{FOLDER}/key"},
            "template": {
                "volumes": [{"name": "files", "secret": {"secretName": "files", "defaultMode": 0o440}}],
                "volumeMounts": [{"name": "files", "mountPath": FOLDER, "readOnly": True}],
                "fsGroup": 10001,
            },
        },
    )
    urls = urls_of_another_database(installations.serving())
    app.create_namespace()
    app.create_secret("owner", INVENTORY_MIGRATION_DATABASE_URL=urls["owner"])
    app.create_secret("files", url=urls["app"], key="k" * 32)

    app.install()

    pods = {kind: app.pods(selector)[0] for kind, selector in (("service", SERVICE_PODS), ("migration", JOB_PODS))}
    for kind, pod in pods.items():
        mounts = pod["spec"]["containers"][0]["volumeMounts"]
        assert {"name": "files", "mountPath": FOLDER, "readOnly": True} in mounts, kind
        assert pod["spec"]["securityContext"]["fsGroup"] == 10001, kind
    environment = pods["service"]["spec"]["containers"][0]["envFrom"]
    assert f"{NAME}-service" not in [each["secretRef"]["name"] for each in environment]
    with app.client() as client:
        assert client.call("GET", "/api/v1/users/me", expect=200).body["role"] == "admin"
    # libpq would take a private key in such a file: only its group may read it.
    name = pods["service"]["metadata"]["name"]
    listed = app.kubectl("exec", name, "--", "stat", "-L", "-c", "%a %u %g", f"{FOLDER}/key")
    assert listed.strip() == "440 0 10001"
    app.remove()


def urls_of_another_database(host: Installation) -> dict[str, str]:
    """One on the server of another app, by the roles that are there."""
    create = (
        'PGPASSWORD=$POSTGRES_PASSWORD psql -h 127.0.0.1 -U postgres -c "CREATE DATABASE files OWNER inventory_owner"'
    )
    host.kubectl("exec", f"{NAME}-postgres-0", "--", "sh", "-c", create)
    passwords = host.secret(f"{NAME}-postgres")
    server = f"{NAME}-postgres.{host.namespace}:5432/files"
    return {
        role: f"postgresql://inventory_{role}:{passwords[f'INVENTORY_{role.upper()}_PASSWORD']}@{server}"
        for role in ("owner", "app")
    }
