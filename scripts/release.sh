#!/usr/bin/env bash
# Builds what a release publishes: sdist, wheel and notes in dist/, from a clean tree whose tag is its version.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin

fail() { printf 'release: %s\n' "$*" >&2; exit 1; }

version=$("$bin/python" -c 'import deployer; print(deployer.__version__)')
declared=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
[[ $version == "$declared" ]] || fail "deployer.__version__ is $version, pyproject.toml says $declared"
[[ -z $(git status --porcelain) ]] || fail "the work tree has changes: commit them first"
tag=$(git tag --points-at HEAD --list 'v*')
[[ $tag == "v$version" ]] || fail "HEAD has the tag '${tag:-none}', the version is $version: git tag v$version"

rm -rf dist
mkdir dist
awk -v heading="## $version" '$0 ~ /^## / { on = index($0, heading) == 1; next } on' CHANGELOG.md > dist/NOTES.md
[[ -s dist/NOTES.md ]] || fail "CHANGELOG.md has no section '## $version'"

"$bin/python" -m build --no-isolation --outdir dist . > dist/build.log || { tail -20 dist/build.log >&2; fail "the build failed"; }
rm dist/build.log
"$bin/twine" check --strict dist/*.whl dist/*.tar.gz
# What is published works on its own: the wheel, in an environment that has nothing else of this tree.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --require-hashes -r requirements.lock
"$folder/venv/bin/pip" install --quiet --no-deps dist/*.whl
[[ $(cd "$folder" && venv/bin/todo-deploy --version) == "todo-deploy $version" ]] || fail "the wheel has another version"
(cd "$folder" && venv/bin/todo-deploy help CRASH_LOOP > /dev/null) || fail "the wheel lacks a file"
ls -l dist
