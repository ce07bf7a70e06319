#!/bin/bash
#SBATCH --job-name=ostinato-search
#SBATCH --array=1-32
#SBATCH --cpus-per-task=1
#SBATCH --time=04:00:00
#SBATCH --signal=TERM@60
#SBATCH --output=search-%a.log

# One worker for each task of the array, all in the study that has been made before:
#   sbatch docs/slurm_search.sh /shared/jsb-wide postgresql://me@db/studies
# exec: the signal that comes a minute before the end is for the worker, which then ends at a checkpoint.
set -eu
exec ostinato search --join "$1" --storage "$2" --checkpoint-seconds 30
