#!/bin/sh
# Make .venv, or bring it up to date, from requirements.lock: what `make setup` calls.
#
#   sh scripts/set_up.sh .venv python3.12 locked           torch from the lock; a .venv that runs stays
#   sh scripts/set_up.sh .venv python3.12 system given     the torch of python3.12; another .venv goes
set -eu
venv=$1 python=$2 torch=$3 given=${4-}
py=$venv/bin/python

end() {
    echo "error: $1" >&2
    exit 2
}
served() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 15))' 2>/dev/null
}
version() {
    "$1" -c 'import sys; print(*sys.version_info[:2], sep=".")' 2>/dev/null
}

case $torch in
locked) shared=false ;;
system) shared=true ;;
*) end "TORCH must be locked or system, got '$torch': leave it out for the lock's torch" ;;
esac
if [ -L "$venv" ]; then # the environment of another checkout, whose commands would import this one
    end "$venv is a link to $(readlink "$venv"): this would change the install there; remove the \
link and run make setup"
fi
if [ -n "$given" ] || ! served "$py"; then
    served "$python" || end "Python 3.10 to 3.14 with venv is needed, found '$python': install it \
(Debian, Ubuntu: python3-venv), or name it: make setup PYTHON=/path/to/python3.12"
    if ! served "$py" || [ "$(version "$py")" != "$(version "$python")" ] ||
        ! grep -qs "include-system-site-packages = $shared" "$venv/pyvenv.cfg"; then
        # shellcheck disable=SC2046 # one word or none
        "$python" -m venv --clear $([ "$torch" = locked ] || echo --system-site-packages) "$venv"
    fi
fi
if [ "$torch" = system ]; then
    "$py" -c 'import sys, torch; v = torch.__version__.split("."); sys.exit((int(v[0]), int(v[1])) < (2, 4))' ||
        end "TORCH=system needs torch 2.4 or later in $(version "$py"): install it there, or leave TORCH out"
fi

# The installer by pip, everything else by the installer. The lock is complete: nothing is resolved.
sed -n '/^uv==/,/[^\\]$/p' requirements.lock >"$venv/uv.lock"
"$py" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r "$venv/uv.lock"
if [ "$torch" = system ]; then
    awk '/^[a-z]/ { skip = /^(torch|torchvision|torchaudio|triton|nvidia-[a-z0-9-]*|cuda-[a-z-]*)==/ } !skip' \
        requirements.lock >"$venv/all.lock"
else
    cp requirements.lock "$venv/all.lock"
fi
# Where Python may not write bytecode, as in many containers, every process would compile torch anew.
[ -z "${PYTHONDONTWRITEBYTECODE-}" ] || export UV_COMPILE_BYTECODE=1
"$py" -m uv pip install --python "$py" --no-deps --require-hashes \
    --build-constraints requirements.lock -r "$venv/all.lock"
"$py" -m uv pip install --python "$py" --no-deps --build-constraints requirements.lock -e .
