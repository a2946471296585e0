#!/usr/bin/env bash
# Creates the virtual environment of `make`. Called by the Makefile; it is safe to run it again.
#   STACK  onedl | openmmlab: the distributions of mmseg, mmengine and mmcv
#   VENV   path of the virtual environment
#   PYTHON interpreter, 3.10 or newer
#   TORCH  pip requirements of torch and torchvision, and pip options such as an index
#          (default: torch==2.14.1 torchvision==0.29.1; torch==2.13.0 torchvision==0.28.0 for
#          openmmlab, because mmcv 2.1 is compiled as C++17, which torch 2.14 does not support)
set -euo pipefail
STACK=${STACK:-onedl} VENV=${VENV:-.venv} PYTHON=${PYTHON:-python3}

say() { printf '\n[set-up] %s\n' "$*"; }
die() { printf '\n[set-up] ERROR: %s\n' "$*" >&2; exit 1; }

case $STACK in
    onedl) pair='torch==2.14.1 torchvision==0.29.1' ;;
    openmmlab) pair='torch==2.13.0 torchvision==0.28.0' ;;
    *) die "STACK=$STACK is unknown: use onedl or openmmlab." ;;
esac
TORCH=${TORCH:-$pair}
command -v "$PYTHON" >/dev/null || die "$PYTHON not found: install Python 3.10 to 3.13, or set PYTHON=..."

# 1. System packages: GDAL with headers if no wheel is available (Python < 3.12), the compiler for
#    its bindings and mmcv, shared libraries of OpenCV.
if "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 12))'; then GDAL=wheel; else GDAL=system; fi
missing=()
[ $GDAL = wheel ] || command -v gdal-config >/dev/null || missing+=(libgdal-dev)
if [ $GDAL = system ] || [ "$STACK" = openmmlab ]; then
    command -v g++ >/dev/null || missing+=(g++)
    "$PYTHON" -c 'import os, sysconfig as s; assert os.path.exists(s.get_path("include") + "/Python.h")' \
        2>/dev/null || missing+=(python3-dev)
fi
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
for pair in libGL.so.1:libgl1 libgthread-2.0.so.0:libglib2.0-0; do
    /sbin/ldconfig -p | grep -q "${pair%%:*}" || missing+=("${pair##*:}")
done
if ((${#missing[@]})); then
    command -v apt-get >/dev/null ||
        die "these Debian packages (or equivalents on your system) are missing: ${missing[*]}"
    sudo=
    if ((EUID != 0)); then
        command -v sudo >/dev/null && sudo -n true 2>/dev/null ||
            die "installing system packages requires root. Ask an administrator to run
           apt-get install ${missing[*]}
         and then run make again."
        sudo=sudo
    fi
    say "system packages: ${missing[*]}"
    $sudo apt-get update -qq
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}" >/dev/null
fi

# 2. The virtual environment and torch. setuptools >= 82 dropped pkg_resources, which mmengine 0.10
#    of the openmmlab line and the build of mmcv 2.1 import. Each torchvision, which timm imports,
#    requires one version of torch: both are installed here. The constraints keep later steps from
#    replacing these packages.
say "virtual environment $VENV ($("$PYTHON" --version)), $TORCH"
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
constraints=$VENV/constraints.txt
echo 'setuptools<82' >"$constraints"
install() {
    "$VENV/bin/python" -m pip --disable-pip-version-check --quiet install -c "$constraints" "$@"
}
install 'setuptools<82' wheel ninja psutil 'numpy>=1.26'
# shellcheck disable=SC2086  # several requirements and options
install $TORCH
"$VENV/bin/python" -m pip freeze | grep -E '^torch(vision)?(==| @ )' >>"$constraints"

# 3. GDAL: a wheel, or bindings of the system library's version, compiled against the installed
#    numpy. A cached wheel from a build without numpy lacks gdal_array, hence --no-cache-dir.
if ! "$VENV/bin/python" -c 'from osgeo import gdal_array' 2>/dev/null; then
    if [ $GDAL = wheel ]; then
        say "GDAL wheel"
        install gdal-wheel
    else
        say "GDAL bindings $(gdal-config --version)"
        install --no-build-isolation --no-cache-dir "gdal[numpy]==$(gdal-config --version)"
    fi
fi

# 4. One of the two stacks, then this package.
if [ "$STACK" = openmmlab ]; then
    say 'mmcv 2.1 (compiled once, about 15 minutes on two cores; pip caches the wheel)'
    MAX_JOBS=${MAX_JOBS:-$(nproc)} install --no-build-isolation 'mmcv==2.1.0'
fi
say "stack $STACK and dnas_mmseg"
# Without torch in pip's isolated build, onedl-mmcv skips its operators, which are not used.
install -e ".[$STACK,dev]"

# A torchvision of another build of torch fails in every program that imports it, mmengine's among
# them; only timm requires it.
if ! "$VENV/bin/python" -c 'import torchvision' 2>/dev/null; then
    say "torchvision does not fit this torch and is removed, so timm is not available: set TORCH to
         torch and torchvision of one index"
    "$VENV/bin/python" -m pip --quiet uninstall -y torchvision
fi

touch "$VENV/.ready"
