. .offline/activate
deno run -A cli.ts info
timeout 120 deno run -A cli.ts verify --backend cuda; echo "verify rc $?"
timeout 60 deno run -A .scratch/profile.ts small
timeout 150 deno run -A .scratch/profile.ts reference
timeout 100 deno run -A cli.ts bench --backend cuda --iters 20 --json > $OUT/bench.json; echo rc $?; cat $OUT/bench.json
