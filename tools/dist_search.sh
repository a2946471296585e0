#!/usr/bin/env bash
# Search on several GPUs of one machine: tools/dist_search.sh GPUS [arguments of tools/search.py]
# Several machines: NNODES, NODE_RANK and MASTER_ADDR as for torchrun.
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: $0 GPUS dnas --work-dir W [options of tools/search.py]" >&2; exit 2; }
gpus=$1
shift
exec "${PYTHON:-python}" -m torch.distributed.run --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$gpus" "$(dirname "$0")/search.py" "$@" --launcher pytorch
