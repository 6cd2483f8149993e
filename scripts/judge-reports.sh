#!/usr/bin/env bash
# judge-reports.sh [VFIOBOOT]: validate the reports of `check` with independent schemas: SARIF's (from
# the crate serde-sarif), the JUnit XSD of Jenkins (from pytest's source), our own JSON schema with
# an independent validator, TAP with two parsers (tap.py and Perl's prove), and GitLab's Code Quality report
# with what its documentation demands. Without a network it prints a message and checks nothing.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

vfioboot=$(realpath "${1:-$ROOT/dist/vfioboot}")
[ -x "$vfioboot" ] || die "$vfioboot is missing: build it with make dist, or give another path"
final=$CACHE/report-judges/3
lock report-judges
scratch report-judges
if [ ! -d "$final" ]; then
    new=$SCRATCH/new
    mkdir -p "$new" "$SCRATCH/crate/src"
    if ! {
        python3 -m venv "$SCRATCH/venv"
        "$SCRATCH/venv/bin/pip" install -q --target "$new/python" jsonschema lxml tap.py more-itertools pyyaml
        "$SCRATCH/venv/bin/pip" download -q --no-deps --no-binary pytest pytest -d "$SCRATCH/pytest"
        tar xzf "$SCRATCH"/pytest/*.tar.gz -C "$new" --strip-components=3 --wildcards '*/junit-10.xsd'
        printf '[package]\nname = "judge"\nversion = "0.1.0"\n[dependencies]\nserde-sarif = "0.8"\n' \
            > "$SCRATCH/crate/Cargo.toml"
        touch "$SCRATCH/crate/src/lib.rs"
        cargo vendor -q --manifest-path "$SCRATCH/crate/Cargo.toml" "$SCRATCH/vendor"
        cp "$SCRATCH/vendor/serde-sarif/src/schema.json" "$new/sarif-2.1.0.json"
    } > "$SCRATCH/log" 2>&1; then
        tail -n 3 "$SCRATCH/log" >&2
        say "judge-reports: skipped, the schemas could not be fetched"
        exit 0
    fi
    publish "$new" "$final"
fi

work=$SCRATCH/work
mkdir "$work"
cd "$work"
config=$ROOT/fixtures/configs/lab-6.1-arm64.config
cp "$config" good.config
grep -v '^CONFIG_VFIO' "$config" > bad.config
hostile=$'a&b<i>"\'%,:|`*_]\n::error::x\x1b[31m@y.config'
cp bad.config "$hostile"
"$vfioboot" check bad.config --write-baseline known.json > one.txt || true
status=0
"$vfioboot" check good.config bad.config "$hostile" missing --baseline known.json \
    --report sarif=check.sarif --report junit=check.xml --report jsonl=check.jsonl \
    --report tap=check.tap --report gitlab=gitlab.json \
    --format json > check.json 2> errors.txt || status=$?
[ "$status" -eq 2 ] || die "expected exit status 2, got $status"
prove -e cat check.tap > prove.txt 2>&1 || true
PYTHONPATH=$final/python python3 - "$final" "$ROOT/docs/schema/check.schema.json" << 'PYTHON'
import json
import re
import sys

from jsonschema import Draft202012Validator, validators
from lxml import etree
from tap.parser import Parser

judges, ours = sys.argv[1:]
wrong = 0


def judge(name, errors):
    global wrong
    print(f"{'FAIL' if errors else 'ok  '} {name}")
    for error in errors[:5]:
        print(f"     {error}")
    wrong += bool(errors)


with open(f"{judges}/sarif-2.1.0.json", encoding="utf-8") as file:
    schema = json.load(file)
with open("check.sarif", encoding="utf-8") as file:
    sarif = json.load(file)
judge("SARIF 2.1.0", [e.message for e in validators.validator_for(schema)(schema).iter_errors(sarif)])

xsd = etree.XMLSchema(etree.parse(f"{judges}/junit-10.xsd"))
xsd.validate(etree.parse("check.xml"))
judge("JUnit", [str(error) for error in xsd.error_log])

with open(ours, encoding="utf-8") as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
with open("check.json", encoding="utf-8") as file:
    documents = [json.load(file)]
with open("check.jsonl", encoding="utf-8") as file:
    documents += [json.loads(line) for line in file]
for number, document in enumerate(documents):
    errors = Draft202012Validator(schema).iter_errors(document)
    judge("JSON" if number == 0 else f"JSON line {number}", [e.message[:200] for e in errors])

with open("check.tap", encoding="utf-8") as file:
    # subtests are of TAP 14, and nothing to a reader of TAP 13
    tap = list(Parser().parse_text("".join(line for line in file if not line.startswith("    "))))
points = [line for line in tap if line.category == "test"]
plans = [line for line in tap if line.category == "plan"]
errors = [f"{len(points)} points"] * (len(points) != 4) + [f"{len(plans)} plans"] * (len(plans) != 1)
errors += ["a line that is not TAP" for line in tap if line.category == "unknown"]
errors += ["the wrong points fail"] * ([point.ok for point in points] != [True, True, False, False])
judge("TAP, tap.py", errors)
with open("prove.txt", encoding="utf-8", errors="replace") as file:
    text = file.read()
judge("TAP, prove", [] if "Failed 2/4 subtests" in text and "Parse errors" not in text else [text])

with open("gitlab.json", encoding="utf-8") as file:
    issues = json.load(file)
SEVERITIES = {"info", "minor", "major", "critical", "blocker"}
errors = ["no issue"] * (not issues)
for issue in issues:
    good = (
        all(isinstance(issue[name], str) and issue[name] for name in ("description", "check_name", "fingerprint"))
        and issue["severity"] in SEVERITIES
        and isinstance(issue["location"]["path"], str)
        and not re.match(r"\./|/", issue["location"]["path"])
        and issue["location"]["lines"]["begin"] >= 1
    )
    errors += [] if good else [str(issue)]
errors += ["a fingerprint twice"] * (len({issue["fingerprint"] for issue in issues}) != len(issues))
judge("GitLab Code Quality", errors)
sys.exit(bool(wrong))
PYTHON
