#!/usr/bin/env bash
# bash run.sh demo                               a first run from nothing: make clips, train, evaluate, predict
# bash run.sh test [pytest options]              the test suite
# bash run.sh doctor                             what this machine can do, tried: engines, precisions, GPUs
# bash run.sh train|eval|predict|inference NAME CONFIG [--flag=value ...]
#
# The last line is the original's. Its settings are environment variables here (an empty one is not given), or flags
# behind the three words: pretrain, resume, weights, use_gpu, save_dir, log_interval, valid_interval, fix_random_seed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    sed -n '2,5s/^# /usage: /p' run.sh >&2
    exit 2
}

# Whether interpreter $1 has all that requirements file $2 names; pip looks, and without an index it cannot install.
has() {
    [ -x "$1" ] && "$1" -m pip install --dry-run --no-index --quiet --disable-pip-version-check -r "$2" >/dev/null 2>&1
}

# The same where Paddle may also be the build for GPUs.
has_on_any_device() {
    has "$1" "$2" || { [ "$2" = requirements.txt ] && has "$1" requirements-gpu.txt; }
}

# Whether interpreter $1 has a Paddle, and what doctor/run.py itself needs.
has_paddle() {
    [ -x "$1" ] && "$1" -c 'import sys, numpy; from importlib.util import find_spec; sys.exit(not find_spec("paddle"))' 2>/dev/null
}

# Sets `python` to the active virtual environment's, or else that of .venv, if `$1 python $2` says that it will do.
find_python() {
    local candidate
    for candidate in "${VIRTUAL_ENV:-}" "${CONDA_PREFIX:-}" .venv; do
        python=$candidate/bin/python
        if "$1" "$python" "${2-}"; then
            return 0
        fi
    done
    return 1
}

# Sets `python`: one that has what file $1 names, installed into .venv when needed. What file $2 names is installed with
# it, but nothing is installed for that alone.
prepare() {
    local candidate
    if find_python has_on_any_device "$1"; then
        return
    fi
    if [ ! -x .venv/bin/python ]; then
        for candidate in python3 python3.13 python3.12 python3.11 python none; do
            if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
                break
            fi
        done
        if [ "$candidate" = none ]; then
            echo "error: Python 3.11, 3.12 or 3.13 is needed to make .venv" >&2
            exit 2
        fi
        echo "making .venv with $("$candidate" --version)"
        "$candidate" -m venv .venv
    fi
    python=.venv/bin/python
    echo "installing what $1 names into .venv (some minutes)"
    "$python" -m pip install --quiet --disable-pip-version-check -r "$1" ${2:+-r "$2"}
}

# Runs script $1 with model $2, configuration $3, the settings of the environment, and further flags, which win.
run_script() {
    local script=$1 flags=("--model_name=$2" "--config=$3") setting settings
    shift 3
    case "$script" in
    train) settings="pretrain resume use_gpu save_dir log_interval valid_interval fix_random_seed batch_size learning_rate epoch" ;;
    eval) settings="weights use_gpu save_dir log_interval batch_size" ;;
    predict) settings="weights use_gpu save_dir log_interval batch_size filelist video_path infer_topk" ;;
    export) settings="weights save_dir" ;;
    esac
    for setting in $settings; do
        if [ -n "${!setting-}" ]; then
            flags+=("--$setting=${!setting}")
        fi
    done
    prepare requirements.txt
    exec "$python" "$script.py" "${flags[@]}" "$@"
}

mode=${1-}
case "$mode" in
demo)
    shift
    prepare requirements.txt requirements-extras.txt
    exec "$python" data/demo.py "$@"
    ;;
test)
    shift
    prepare requirements-test.txt
    if [ $# -eq 0 ]; then
        # A process per core and one more, as a test may wait for a time limit; what lies in one file shares what it has
        # set up; the order is that of tests/conftest.py.
        cores=$("$python" -c 'from utils.processes.limits import available_cores; print(available_cores())')
        set -- -n $((cores + 1)) --dist loadfile --no-loadscope-reorder
    fi
    exec "$python" -m pytest "$@"
    ;;
doctor)
    shift
    # What lacks packages is looked at as well, and not made whole.
    find_python has_on_any_device requirements.txt || find_python has_paddle || prepare requirements.txt
    exec "$python" doctor/run.py "$@"
    ;;
train | eval | predict | inference)
    [ $# -ge 3 ] || usage
    shift
    if [ "$mode" = inference ]; then
        mode=export
    fi
    run_script "$mode" "$@"
    ;;
*)
    usage
    ;;
esac
