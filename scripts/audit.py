"""Are weaknesses known of the packages that are pinned? `make audit`: exit code 1 if so; says so where the database can't be reached."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILES = ("requirements.txt", "requirements-sign-in.txt", "requirements-dev.txt")
PATIENCE = 300  # seconds


def pinned() -> str:
    lines = [line for file in FILES for line in (ROOT / file).read_text(encoding="utf-8").splitlines()]
    return "\n".join(sorted({line.strip() for line in lines if "==" in line and not line.startswith("#")}))


def main() -> int:
    listed = ROOT / "runs" / "pinned.txt"
    listed.parent.mkdir(exist_ok=True)
    listed.write_text(pinned(), encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "-r",
        str(listed),
        "--no-deps",
        "--disable-pip",
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
        found = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        print("audit skipped: the database of known weaknesses can't be reached from here")
        return 0
    known = [entry for entry in found if "vulns" in entry]
    if not known:
        print(f"audit skipped: the database of known weaknesses knows none of the {len(found)} packages; it can't be reached from here")
        return 0
    weak = [(entry["name"], entry["version"], weakness) for entry in known for weakness in entry["vulns"]]
    for name, version, weakness in weak:
        print(f"{name} {version}: {weakness['id']}, mended in {', '.join(weakness['fix_versions']) or 'no version yet'}")
    unknown = [entry["name"] for entry in found if "vulns" not in entry]
    print(f"{len(known)} packages audited, {len(weak)} weaknesses known" + (f"; not known there: {', '.join(unknown)}" if unknown else ""))
    return 1 if weak else 0


if __name__ == "__main__":
    sys.exit(main())
