# How fast it is; docs/performance.md explains.  Needed: a C compiler, wrk and nginx (Debian: gcc libc6-dev wrk nginx-light).

.PHONY: bench bench-read-ahead bench-sidelines bench-swap profile

BENCH_PROGRAMS = $(addprefix build/bench/,upstream streams bodies traced)

bench: $(VENV)/with-llamacpp $(BENCH_PROGRAMS) ## measure speed and memory beside nginx; BENCH="--quick" takes a minute
	$(RUN) benchmarks/run.py $(BENCH)

bench-swap: $(VENV)/with-llamacpp $(BENCH_PROGRAMS) ## measure how long a swap takes
	$(RUN) benchmarks/swap.py $(BENCH)

bench-read-ahead: $(VENV)/with-llamacpp $(BENCH_PROGRAMS) ## measure what reading ahead saves
	$(RUN) benchmarks/readahead.py $(BENCH)

bench-sidelines: $(VENV)/with-llamacpp $(BENCH_PROGRAMS) ## measure how late events of streams are beside other work
	$(RUN) benchmarks/sidelines.py $(BENCH)

profile: $(VENV)/with-llamacpp $(BENCH_PROGRAMS) ## show where the proxy's CPU time goes
	$(RUN) benchmarks/hotspots.py $(BENCH)

build/bench/%: benchmarks/%.c benchmarks/common.h
	@mkdir -p $(@D)
	$(CC) -O2 -Wall -Wextra -std=gnu11 -o $@ $< -lm
