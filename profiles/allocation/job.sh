#!/bin/bash
# The allocation that `pesatlas run --profile profiles/allocation` submits, and submits again until the campaign is finished.

# YOURS: account and partition (delete what your cluster does not have), nodes, time. For GPUs a line more: #SBATCH --gpus-per-node=4
#SBATCH --account=account
#SBATCH --partition=cpu
#SBATCH --nodes=2
#SBATCH --time=1-00:00:00

# Whole nodes, with all their memory.
#SBATCH --exclusive
#SBATCH --mem=0
# Ten minutes before the end no more jobs are started, and a further allocation is submitted. Jobs that still run two minutes before the end
# are stopped, and keep what they finished.
#SBATCH --signal=B:USR1@600
# Back to the queue when a node fails.
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=logs/slurm/allocation-%j.log

# Memory of a node, MB.
if [ "${SLURM_MEM_PER_NODE:-0}" -gt 0 ]; then
    export NODE_MB=$SLURM_MEM_PER_NODE
else
    NODE_MB=$(sinfo --noheader --nodes="$SLURMD_NODENAME" --format=%m | head -n 1)
    export NODE_MB
fi
# Options of this allocation are none of its steps.
unset SLURM_MEM_PER_CPU SLURM_MEM_PER_NODE SLURM_MEM_PER_GPU SLURM_CPUS_PER_TASK SLURM_NTASKS_PER_NODE
exec "$@"
