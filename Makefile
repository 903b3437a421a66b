.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

# A Python with venv that the lock serves, by whichever name it answers to here; 3.11 made results/.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.10 python3.14 python3 python; do \
	"$$p" -c $(is_served) 2>/dev/null && echo "$$p" && break; done)
is_served := 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 15))'

# TORCH=system: the torch that PYTHON has already, such as a GPU machine's own; the lock's is left out.
TORCH ?= $(if $(shell grep -s 'include-system-site-packages = true' $(VENV)/pyvenv.cfg),system,locked)

SCALE ?= cpu
LIMIT ?= 600
ARGS ?=
DATA ?= dataset.download=true

ifndef OMP_NUM_THREADS
OMP_NUM_THREADS := $(shell $(firstword $(wildcard $(PY)) python3) defensive_tensorization/system/cores.py \
	2>/dev/null || nproc 2>/dev/null || getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
endif
export OMP_NUM_THREADS
ifeq ($(GOMP_SPINCOUNT)$(OMP_WAIT_POLICY)$(KMP_BLOCKTIME)$(KMP_LIBRARY),)
# A thread that waits beside a busy process sleeps soon: docs/speed.md
export GOMP_SPINCOUNT := 300
endif


EXPERIMENTS := table1 table2 table2b table3 figure1 figure2 figure3 figure4 table4 table5 table5-binary table5-tuned table5-tuned-binary table5-bim-pgd audio-size logmel batchnorm precision foolbox1-readings width honest-surface honest-surface4 honest-autoattack honest-table1 honest-table2 honest-table4 honest-figure1 honest-table2b honest-table3 honest-table5-tuned honest-table5-tuned-binary

.PHONY: help run setup quickstart quickstart-audio report release-networks verify list clean-runs test test-avx2 test-slow golden docs docs-numbers example-outputs test-wheel lint doctor format lock figure-audio dashboard wandb-sync plot-theta compare bench bench-gpu bench-check bench-check-full profile bench-loader bench-layers bench-table bench-busy bench-xnor cost survive collect foolbox1-fixture audit audit-panel compare-tools reproduce-honest $(EXPERIMENTS:%=reproduce-%) $(EXPERIMENTS:%=render-%)

help: ## this list
	@echo "make TARGET [SCALE=smoke|cpu|wide|fast|paper] [ARGS='key=value ...']"
	@printf '  %-24s %s\n' render-... "of each reproduce-...: the same from whatever rows exist, without training"
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-24s %s\n", $$1, $$2}' Makefile

run: $(READY) ## one run, or a sweep: make run ARGS="dataset=digits theta=0.9", as python -m defensive_tensorization ...
	$(PY) -m defensive_tensorization $(ARGS)

setup: $(READY) ## make .venv with the locked dependencies (every other target does it when needed)

quickstart: $(READY) ## what the project found, on data that ships with a dependency: one attack in three forms
	$(PY) -m defensive_tensorization experiment=quickstart $(ARGS)
	$(PY) scripts/render.py quickstart $(ARGS)

quickstart-audio: $(READY) ## theta on generated tones (no speech, no download): a table and a figure in minutes
	$(PY) -m defensive_tensorization experiment=quickstart_audio $(ARGS)
	$(PY) scripts/render.py quickstart_audio $(ARGS)

# reproduce-X trains what is missing, attacks, renders (and resumes where it was stopped); render-X only renders.
reproduce-table1: ## Table 1 at SCALE: FGSM, BIM and PGD on CIFAR-10
reproduce-table2: ## Table 2 at SCALE: other defences and ours under FGSM and PGD on CIFAR-10
reproduce-table2b: ## Table 2b at SCALE: randomized activations (pruning, dropout) beside randomized weights
reproduce-table3: ## Table 3 at SCALE: the omniscient attacker
reproduce-figure1: ## Figure 1 at SCALE: FGSM and PGD against epsilon, real and binary
reproduce-figure2: ## Figure 2 at SCALE: the loss around an image, directions fixed at theta = 1
reproduce-figure3: ## Figure 3 at SCALE: the same, each theta's own directions
reproduce-figure4: ## Figure 4 at SCALE: the same after PGD training
reproduce-table4: ## Table 4 at SCALE: binary networks under FGSM, BIM and PGD on CIFAR-10
reproduce-foolbox1-readings: ## which reading of the attacks of 2018 fits Tables 1 and 3
reproduce-width: ## how clean accuracy and the stopped attacks of Tables 1 and 3 move with the network's width
reproduce-precision: ## what bfloat16 does to accuracies, beside float32
reproduce-batchnorm: ## what BatchNorm does to a random kernel: the comparison behind the default
reproduce-table5: reproduce-table5-binary ## Table 5 at SCALE: FGSM on Speech Commands, real and binary
reproduce-table5-binary: ## its binary half alone
reproduce-table5-tuned: reproduce-table5-tuned-binary ## Table 5 at a learning rate that factorized kernels bear, real and binary
reproduce-table5-tuned-binary: ## its binary half alone
reproduce-table5-bim-pgd: ## the same networks under BIM and PGD, which the paper leaves out
reproduce-honest: reproduce-honest-table1 reproduce-honest-table2 reproduce-honest-table4 ## the honest tables: Tables 1, 2 and 4 averaged over draws, their last column
reproduce-honest-surface: ## whether their attacks have converged, over steps x draws; headlines are refused until they have
reproduce-honest-surface4: ## the same of binary networks
reproduce-honest-autoattack: ## AutoAttack on their networks: others' code, then among the attacks of Tables 1 and 2
reproduce-honest-table1: ## Table 1 alone
reproduce-honest-table2: ## Table 2 alone
reproduce-honest-table4: ## Table 4 alone
reproduce-honest-figure1: ## the real networks of Figure 1 averaged over draws, its last column
reproduce-honest-table2b: ## Table 2b likewise
reproduce-honest-table3: ## Table 3 likewise: attacked at theta = 1, scored over draws
reproduce-honest-table5-tuned: reproduce-honest-table5-tuned-binary ## Table 5 at lr 0.001 likewise, real and binary
reproduce-honest-table5-tuned-binary: ## its binary half alone
reproduce-audio-size: ## SoundNet5 on parts of the training clips: what fewer clips cost
reproduce-logmel: ## end-to-end against log-mel: who loses more to FGSM
render-table5: render-table5-binary
render-table5-tuned: render-table5-tuned-binary
render-honest-table5-tuned: render-honest-table5-tuned-binary

$(EXPERIMENTS:%=reproduce-%): reproduce-%: $(READY)
	$(PY) -m defensive_tensorization experiment=$(subst -,_,$*) scale=$(SCALE) $(ARGS)
	$(PY) scripts/render.py $(subst -,_,$*) scale=$(SCALE) $(ARGS)

$(EXPERIMENTS:%=render-%): render-%: $(READY)
	$(PY) scripts/render.py $(subst -,_,$*) scale=$(SCALE) $(ARGS)

figure-audio: $(READY) ## clips, their adversarial examples and the difference: a figure, WAV files, W&B audio
	$(PY) scripts/listen.py scale=$(SCALE) $(ARGS)

report: $(READY) ## one page of everything at SCALE: results/SCALE/report.html, tables, figures, rows, what was not run
	$(PY) scripts/report.py scale=$(SCALE) $(ARGS)
cost: $(READY) ## what Table 2 would cost at ImageNet size: counts, a short measurement, stated assumptions
	$(PY) scripts/cost.py $(ARGS)

release-networks: $(READY) ## the finished networks of ARGS="paths.runs=... dataset.root=...": results/SCALE/networks
	$(PY) scripts/release_networks.py scale=$(SCALE) $(ARGS)

verify: $(READY) ## the released networks, re-evaluated on 500 images, against the committed rows; where their data is: ARGS
	$(PY) scripts/verify.py scale=$(SCALE) $(ARGS)

list: $(READY) ## what has been trained and evaluated, what each table at SCALE still lacks, and how long that takes
	$(PY) scripts/list.py scale=$(SCALE) $(ARGS)

clean-runs: $(READY) ## delete checkpoints, rows and logs in runs/, after asking (ARGS=WORD: only names with it)
	$(PY) scripts/clean_runs.py $(ARGS)

dashboard: $(READY) ## the W&B dashboard of a data set at SCALE: created or updated; without a key, what it would be
	$(PY) scripts/dashboard.py scale=$(SCALE) $(ARGS)

wandb-sync: $(READY) ## upload what W&B recorded offline, once, within LIMIT seconds (600)
	$(PY) scripts/wandb_sync.py --limit $(LIMIT) $(ARGS)

plot-theta: $(READY) ## accuracy against theta, of a multirun: ARGS has its words without -m, such as theta=1,0.9,0.8
	$(PY) scripts/plot_theta.py $(ARGS)

compare: $(READY) ## the difference of two runs with its interval, image by image: A=RUN B=RUN
	$(PY) scripts/compare.py $(A) $(B) $(ARGS)

bench: $(READY) ## training, attacking, start-up, growth, memory: ratios, a quarter of an hour on two cores
	$(PY) scripts/bench_startup.py $(ARGS)
	$(PY) scripts/bench_training.py $(ARGS)
	$(PY) scripts/bench_attack.py $(ARGS)
	$(PY) scripts/bench_eot.py $(ARGS)
	$(PY) scripts/bench_growth.py $(ARGS)

bench-gpu: $(READY) ## the same on a GPU, start-up apart, with CUDA graphs beside it; then CIFAR-10 at scale=fast, from DATA
	$(PY) scripts/bench_training.py --device cuda --compile reduce-overhead $(ARGS)
	$(PY) scripts/bench_attack.py --device cuda $(ARGS)
	$(PY) scripts/bench_eot.py --device cuda $(ARGS)
	$(PY) scripts/bench_growth.py --device cuda $(ARGS)
	$(PY) -m defensive_tensorization dataset=cifar10 scale=fast defence=none attack=[] device=cuda $(DATA)

bench-check: $(READY) ## five ratios in two minutes: fails when one is 25% worse than the last kept (ARGS=--keep: keep these)
	$(PY) scripts/bench_reduced.py $(ARGS)

bench-check-full: $(READY) ## the whole benchmark anew: fails when a ratio is 25% worse than the committed one
	$(MAKE) bench ARGS="--out runs/bench"
	$(PY) scripts/bench_check.py runs/bench

profile: $(READY) ## where a training step's and an attack step's time goes, in percent
	$(PY) scripts/profile_steps.py $(ARGS)

audit: $(READY) ## can a robust accuracy be believed? MODEL=<run or fingerprint>, or ARGS="dataset=... theta=..."
	$(PY) scripts/audit.py $(MODEL) $(ARGS)

audit-panel: $(READY) ## the audit on models of which the truth is known: its table at SCALE (ARGS=members=A,B: some alone)
	$(PY) scripts/audit_panel.py scale=$(SCALE) audit.rounds=3 $(ARGS)

compare-tools: $(READY) ## random resize and pad under AutoAttack, Foolbox, torchattacks and ours: what each says, what is true
	$(PY) scripts/compare_tools.py scale=$(SCALE) $(ARGS)

bench-loader: $(READY) ## what handing over the clips costs an epoch of training
	$(PY) scripts/bench_loader.py $(ARGS)

bench-layers: $(READY) ## what a randomized kernel costs, beside the dense network and tensorly-torch
	$(PY) scripts/bench_layers.py $(ARGS)

bench-table: $(READY) ## what running a table's networks side by side saves
	$(PY) scripts/bench_table.py $(ARGS)

bench-busy: $(READY) ## what other busy processes cost a training step, with and without our setting of OpenMP
	$(PY) scripts/bench_busy.py $(ARGS)

survive: $(READY) ## kills, stops and processes in each other's way, against an undisturbed run
	$(PY) scripts/survive.py $(ARGS)

bench-xnor: $(READY) ## what a binary network costs, beside the real one
	$(PY) scripts/bench_xnor.py $(ARGS)

collect: $(READY) ## rows of other machines, FROM="their runs folders", into runs/rows
	$(PY) scripts/collect.py $(FROM) runs/rows

foolbox1-fixture: $(READY) ## run Foolbox 1.8 itself, in an environment of its own: tests/fixtures/foolbox1.npz
	$(PY) scripts/foolbox1_fixture.py $(ARGS)

test: $(READY) ## the test suite, without the slow tests, a process a core (ARGS=-n0: one, as a debugger needs)
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -n auto --maxprocesses 8 --dist loadfile $(ARGS)

test-avx2: $(READY) ## the test suite as a processor with AVX2 alone would run it (no AVX-512, no AMX)
	ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 $(MAKE) test

test-slow: $(READY) ## the slow tests alone
	$(PY) -m pytest -q -m slow $(ARGS)

golden: $(READY) ## renew the golden values of the tests, saying what changed (ARGS=--check: write nothing)
	PYTHONPATH=.:tests $(PY) -m golden $(ARGS)

docs: $(READY) ## the site, from docs/ and the docstrings, without a network, links checked: runs/site/index.html
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet --strict $(ARGS)
	@echo "wrote runs/site/index.html; search works where it is served: $(PY) -m http.server -d runs/site"

example-outputs: $(READY) ## run examples/ at toy size and keep what they print, for the site: docs/outputs
	$(PY) scripts/example_outputs.py $(ARGS)

docs-numbers: $(READY) ## render the numbers in README and docs from results/*.csv, between their markers
	$(PY) scripts/docs_numbers.py $(ARGS)

test-wheel: $(READY) ## the package as others install it: built, without extras, at the lowest versions, under every Python
	OMP_NUM_THREADS=1 $(PY) -m pytest -q -m slow tests/test_wheel.py $(ARGS)

lint: $(READY) ## what the hooks of a commit check, on every file: ruff, mypy, ends of files, large files
	$(PY) -m pre_commit run --all-files

doctor: $(READY) ## what this machine has, on one screen: for a report of something that went wrong
	$(PY) -m defensive_tensorization doctor

format: $(READY) ## let ruff fix and format the code
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lock: $(READY) ## resolve pyproject.toml into requirements.lock anew, upgrading what it allows
	$(PY) -m uv pip compile --quiet --upgrade --universal --python-version 3.10 --generate-hashes \
		--extra dev --extra experiments --extra attacks --extra bench --extra docs \
		--no-emit-index-url --no-annotate --custom-compile-command "make lock" \
		--output-file requirements.lock pyproject.toml

# A .venv that runs is brought up to date; one that does not, or differs from the PYTHON or TORCH that
# `make setup` was given, is made anew.
GIVEN := $(if $(filter setup,$(MAKECMDGOALS)),$(filter command environment,$(origin PYTHON) $(origin TORCH)))
FORCE:
$(READY): requirements.lock pyproject.toml scripts/set_up.sh $(if $(GIVEN),FORCE)
	@sh scripts/set_up.sh $(VENV) "$(PYTHON)" $(TORCH) $(if $(GIVEN),given)
	@touch $@
