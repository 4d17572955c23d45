# make demo: set up and run the demo · make test: set up and test · make check: lint, types, structure, docs

.PHONY: demo test check docs clean setup-demo setup-test

demo: setup-demo
	.venv/bin/tellapart run openmoji

test: setup-test
	scripts/test

check: setup-test
	scripts/check

docs: setup-test
	scripts/docs --write

setup-demo:
	@scripts/setup demo train,ann,curate,serve,demo

setup-test:
	@scripts/setup test train,ann,curate,graph,serve,hf,export,demo,lance,pg,qdrant,ray,sound,dev

clean:
	rm -rf .venv build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
