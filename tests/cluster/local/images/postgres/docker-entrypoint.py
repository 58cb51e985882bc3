"""Starts PostgreSQL; the first time, makes the database as the official image does and runs the init scripts."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

SCRIPTS = Path("/docker-entrypoint-initdb.d")


def environment(name: str, default: str = "") -> str:
    """The variable, or what the file that NAME_FILE points at holds."""
    file = os.environ.get(f"{name}_FILE")
    return Path(file).read_text().rstrip("\n") if file else os.environ.get(name) or default


def initialise(data: Path) -> None:
    user, password = environment("POSTGRES_USER", "postgres"), environment("POSTGRES_PASSWORD")
    database = environment("POSTGRES_DB", user)
    if not password and os.environ.get("POSTGRES_HOST_AUTH_METHOD") != "trust":
        sys.exit("POSTGRES_PASSWORD must be set for the superuser of a new database")
    with tempfile.NamedTemporaryFile("w", dir="/tmp") as file:
        file.write(password or "unused")
        file.flush()
        subprocess.run(
            [
                *("initdb", "--username", user, "--pwfile", file.name, "--pgdata", str(data), "--auth-local=trust"),
                *("--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"),
            ],
            check=True,
        )
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write(f"\nhost all all all {os.environ.get('POSTGRES_HOST_AUTH_METHOD') or 'scram-sha-256'}\n")
    # Nobody can reach it from outside before the scripts have run: it listens on its socket alone.
    control = ["pg_ctl", "--pgdata", str(data), "--wait"]
    subprocess.run([*control, "--options", "-c listen_addresses=''", "start"], check=True)
    try:
        psql = ["psql", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--username", user]
        if database != "postgres":
            name = database.replace('"', '""')
            subprocess.run([*psql, "--dbname", "postgres", "--command", f'CREATE DATABASE "{name}"'], check=True)
        scripts = {**os.environ, "POSTGRES_USER": user, "POSTGRES_DB": database, "PGUSER": user, "PGDATABASE": database}
        for script in sorted(SCRIPTS.glob("*")):
            print(f"running {script}", flush=True)
            if script.suffix == ".sh":
                subprocess.run(["/bin/bash", "-e", str(script)], check=True, env=scripts)
            elif script.suffix == ".sql":
                subprocess.run([*psql, "--dbname", database, "--file", str(script)], check=True, env=scripts)
    finally:
        subprocess.run([*control, "--mode=fast", "stop"], check=True)


def main() -> None:
    command = sys.argv[1:] or ["postgres"]
    if command[0] != "postgres":
        os.execvp(command[0], command)  # noqa: S606
    data = Path(os.environ["PGDATA"])
    done = data / "PG_VERSION.initialised"
    if not done.exists():
        if (data / "PG_VERSION").exists():
            sys.exit(f"{data} holds a database whose first start did not end well: empty it")
        data.mkdir(parents=True, exist_ok=True)
        data.chmod(0o700)
        try:
            initialise(data)
        except subprocess.CalledProcessError as error:
            sys.exit(f"the first start failed: {error}")
        done.touch()
    os.execvp("postgres", ["postgres", "-D", str(data), "-c", "listen_addresses=*", *command[1:]])  # noqa: S606


if __name__ == "__main__":
    main()
