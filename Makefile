# Everything runs in .venv, which is made at the first need. `make` alone lists the targets.

VENV := .venv
PY := $(VENV)/bin/python
# requirements-gpu.txt adds the CUDA libraries: make venv REQUIREMENTS=requirements-gpu.txt
REQUIREMENTS := requirements.txt
# Two test processes at a time: each one that loads TensorFlow takes 1 to 2 GB of memory.
# A file stays with one of them, so that what its tests share is made once; the files come in the
# order of tests/conftest.py.
PYTEST_ARGS := -q -n 2 --dist loadfile --no-loadscope-reorder
DEMO_RUN := runs/demo
# The same labels and steps, without the unlabeled images.
DEMO_BASELINE := runs/demo-baseline
DEMO_EXPORT := exports/demo
# What is measured, and other flags: make bench PART=step BENCH_ARGS="--backbones small"
PART := all
BENCH_ARGS :=
# What `python -m tests.soak` is told.
SOAK_ARGS :=
# Which export is run on other engines: make serve-check EXPORT=exports/mine SERVE_ARGS="--images photos"
EXPORT := $(DEMO_EXPORT)
SERVE_ARGS :=

# Empty when .venv is missing, or broken: half made, or its Python was since removed.
VENV_CHECK := import pip, sys; sys.version_info[:2] in ((3, 10), (3, 11)) and print("yes")
VENV_WORKS := $(shell $(PY) -c '$(VENV_CHECK)' 2>/dev/null)

# One mark per requirements file, so that asking for the GPU set later installs it.
# Each set holds requirements.txt, so the mark of that file is always left as well.
MARK := $(VENV)/.installed-$(notdir $(REQUIREMENTS))
BASE_MARK := $(VENV)/.installed-requirements.txt

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow coverage soak lint bench serve-check docs-check audit clean FORCE

help:
	@echo "make demo         train a small model, with and without unlabeled images; evaluate and export it"
	@echo "make test         check the style and run the tests"
	@echo "make test-slow    run the tests that take long"
	@echo "make coverage     run the tests, and tell which lines they never reach"
	@echo "make soak         for about an hour: damaged files, any input, and what grows"
	@echo "make lint         check the style only"
	@echo "make bench        measure speed and memory; make bench PART=step for one part of it"
	@echo "make serve-check  run exports/demo on other engines; EXPORT=exports/mine for another"
	@echo "make docs-check   run the commands of README.md and docs/"
	@echo "make audit        ask a public data base which installed packages have known faults"
	@echo "make venv         only make the environment in $(VENV) and install what is needed"
	@echo "make clean        delete $(VENV) and the caches; runs/ and exports/ are kept"
	@echo ""
	@echo "Needs Python 3.10 or 3.11. One is looked for; to name it: make demo PYTHON=/path/to/python3.11"
	@echo "For an NVIDIA GPU, first: make venv REQUIREMENTS=requirements-gpu.txt"
	@echo "To compare with PyTorch and OpenVINO, first: make venv REQUIREMENTS=requirements-bench.txt"

venv: $(MARK)

ifneq ($(VENV_WORKS),yes)
$(MARK): FORCE
endif

$(MARK): requirements.txt requirements-dev.txt $(REQUIREMENTS)
ifneq ($(VENV_WORKS),yes)
	@set -e; \
	python=$$(sh tools/find_python.sh); \
	echo "Making $(VENV) with $$python"; \
	rm -rf $(VENV); \
	"$$python" -m venv $(VENV)
endif
	@echo "Installing $(REQUIREMENTS) and requirements-dev.txt into $(VENV) (minutes, the first time)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r $(REQUIREMENTS) -r requirements-dev.txt
	@touch $(MARK) $(BASE_MARK)

# A run that was begun is carried on. One that is finished is left as it is.
demo: venv
	$(PY) train.py --method baseline --run_dir $(DEMO_BASELINE) $(if $(wildcard $(DEMO_BASELINE)/*),--resume)
	$(PY) train.py $(if $(wildcard $(DEMO_RUN)/*),--resume)
	$(PY) evaluate.py --run_dir $(DEMO_RUN) --compare $(DEMO_BASELINE)
	$(PY) export.py --run_dir $(DEMO_RUN) --output $(DEMO_EXPORT)
	@echo ""
	@echo "Done. Where to look next:"
	@echo "  $(DEMO_RUN)/results.json    the scores; $(DEMO_BASELINE) has those without unlabeled images"
	@echo "  $(DEMO_EXPORT)/1            the exported model (each further export is numbered one higher)"
	@echo "  $(PY) -m tensorboard.main --logdir runs    curves and pictures, in the browser"

# All of it takes about an hour; `make soak SOAK_ARGS="--part fuzz --inputs 2000"` a part.
soak: venv
	TF_ADVSEG_PROPERTIES=thorough $(PY) -m pytest $(PYTEST_ARGS) tests/*_properties.py
	$(PY) -m tests.soak $(SOAK_ARGS)

lint: venv
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

test: lint
	$(PY) -m pytest $(PYTEST_ARGS)

test-slow: venv
	$(PY) -m pytest $(PYTEST_ARGS) -m slow

coverage: venv
	$(PY) -m pytest $(PYTEST_ARGS) --cov --cov-report=term-missing:skip-covered --cov-fail-under=90

# Nothing else should run meanwhile.
bench: venv
	$(PY) -m benchmarks $(PART) $(BENCH_ARGS)

# Without the packages' own requirements: Triton's client wants other versions than TensorFlow does.
serve-check:
	$(MAKE) venv REQUIREMENTS=requirements-serve.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps nvidia-pytriton==0.7.0 \
		|| echo "nvidia-pytriton cannot be installed here"
	$(PY) -m serving.check --saved_model $(EXPORT) $(SERVE_ARGS)

docs-check: venv
	$(PY) -m tools.docs_check

# In an environment of its own, so that what is asked about is only what the program needs.
audit: venv
	$(PY) -m venv $(VENV)/audit
	$(VENV)/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	$(VENV)/audit/bin/pip-audit --strict \
		--path $$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
