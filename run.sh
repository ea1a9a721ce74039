#!/usr/bin/env bash
# bash run.sh demo                               a first run from nothing: make clips, train, evaluate, predict
# bash run.sh test [pytest options]              the test suite
# bash run.sh doctor [--gpu]                     what this machine can do, tried: engines, precisions, GPUs
# bash run.sh weights                            the published weights that --weights and --pretrain know by name
# bash run.sh train|eval|predict|inference NAME CONFIG [--flag=value ...]
#
# The last line is the original's. Its settings are environment variables here (an empty one is not given), or flags
# behind the three words: pretrain, resume, weights, use_gpu, save_dir, log_interval, valid_interval, fix_random_seed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    sed -n '2,6s/^# /usage: /p' run.sh >&2
    exit 2
}

# Whether interpreter $1 has all that pip would install for the other words.
has() {
    [ -x "$1" ] && "$1" -P utils/installed.py "${@:2}" >/dev/null 2>&1
}

# Sets `for_gpus`: the words for pip of what file $1 names, with the Paddle for GPUs in place of that for the CPU.
read_for_gpus() {
    local line
    for_gpus=(-r requirements-gpu.txt)
    [ "$1" != requirements.txt ] || return 0
    while read -r line; do
        case "$line" in
        "-r requirements.txt" | "") ;;
        "-r "*) for_gpus+=(-r "${line#-r }") ;;
        *) for_gpus+=("$line") ;;
        esac
    done <"$1"
}

# Whether interpreter $1 has what file $2 names, where Paddle may also be the build for GPUs.
has_on_any_device() {
    has "$1" -r "$2" || { read_for_gpus "$2" && has "$1" "${for_gpus[@]}"; }
}

# Whether interpreter $1 has a Paddle, and what the doctor itself needs.
has_paddle() {
    [ -x "$1" ] && "$1" -c 'import sys, numpy; from importlib.util import find_spec; sys.exit(not find_spec("paddle"))' 2>/dev/null
}

# Whether interpreter $1 has the Paddle for GPUs.
has_gpu_paddle() {
    [ -x "$1" ] && "$1" -c 'from importlib import metadata; metadata.version("paddlepaddle-gpu")' 2>/dev/null
}

# Whether $1 is a Python that the toolkit runs on.
fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
}

# Sets `python` to the active virtual environment's, that of .venv, or python3 (a container's may have all), if
# `$1 python $2` says that it will do.
find_python() {
    local candidate candidates=("${VIRTUAL_ENV:-}/bin/python" "${CONDA_PREFIX:-}/bin/python" .venv/bin/python)
    if fits python3; then
        candidates+=("$(command -v python3)")
    fi
    for candidate in "${candidates[@]}"; do
        python=$candidate
        if "$1" "$python" "${2-}"; then
            return 0
        fi
    done
    return 1
}

# Stops with one line, which says what is the matter ($1), and what installs all into the Python $2.
stop_for_gpus() {
    local words
    words=$(printf '%q ' -m pip install "${for_gpus[@]}" "${index[@]}")
    echo "error: $1: $2 $words(on the CPU: use_gpu=False bash run.sh $mode ...)" >&2
    exit 2
}

# Sets `python`: one that has what file $1 names, installed into .venv when needed. What file $2 names is installed with
# it, but nothing is installed for that alone. The other words are the script's: --use_gpu=False is the CPU.
prepare() {
    local candidate names index install=(-r "$1")
    if find_python has_on_any_device "$1"; then
        return
    fi
    read_for_gpus "$1"
    index=(--extra-index-url "$(grep -o 'https:[^ ]*' requirements-gpu.txt)")
    if has_gpu_paddle .venv/bin/python; then
        install=("${for_gpus[@]}" "${index[@]}") # the CPU's would be written over it
    elif ! [[ "${use_gpu-} ${*:3}" =~ ^([Ff]alse|0)|--use_gpu=([Ff]alse|0) ]]; then
        if find_python has_gpu_paddle; then
            stop_for_gpus "$python has the Paddle for GPUs, but not all else that is needed" "$python"
        fi
        names=$(nvidia-smi -L 2>/dev/null || true)
        if [[ "$names" =~ GPU\ [0-9] ]] && ! find_python has_paddle; then
            stop_for_gpus "this machine has a GPU, and no Paddle yet" "python3 -m venv .venv && .venv/bin/python"
        fi
    fi
    if [ ! -x .venv/bin/python ]; then
        for candidate in python3 python3.13 python3.12 python3.11 python none; do
            if fits "$candidate"; then
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
    "$python" -m pip install --quiet --disable-pip-version-check "${install[@]}" ${2:+-r "$2"}
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
    prepare requirements.txt "" "$@"
    exec "$python" "$script.py" "${flags[@]}" "$@"
}

mode=${1-}
case "$mode" in
demo)
    shift
    prepare requirements.txt requirements-extras.txt "$@"
    exec "$python" data/demo.py "$@"
    ;;
test)
    shift
    prepare requirements-test.txt
    if [ $# -eq 0 ]; then
        # A process per core and two more, as tests wait for time limits; what lies in one file shares what it has set
        # up; the order is that of tests/conftest.py.
        cores=$("$python" -c 'from utils.processes.limits import available_cores; print(available_cores())')
        set -- -n $((cores + 2)) --dist loadfile --no-loadscope-reorder
    fi
    exec "$python" -m pytest "$@"
    ;;
doctor)
    shift
    # What lacks packages is looked at as well, and not made whole.
    find_python has_on_any_device requirements.txt || find_python has_paddle || prepare requirements.txt
    exec env -u PYTHONSAFEPATH "$python" -m apps.doctor "$@"
    ;;
weights)
    prepare requirements.txt
    exec env -u PYTHONSAFEPATH "$python" -m models.weights.table
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
