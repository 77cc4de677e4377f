. .offline/activate
timeout 120 deno run -A cli.ts verify --backend cuda --runs 20; echo "verify rc $?"
for p in '{"batch":1,"seq":20}' '{"batch":1,"seq":1000}' '{"batch":4,"seq":2000,"capacity":null,"experts":8}'; do timeout 60 deno run -A .scratch/profile.ts small "$p" | grep -E "gate|down|combine|whole"; done
timeout 100 deno run -A cli.ts bench --backend cuda --iters 20
D=$(which deno)
for tool in memcheck racecheck initcheck synccheck; do timeout 120 compute-sanitizer --tool $tool --target-processes=application-only $D run -A cli.ts verify --backend cuda --batch 2 --seq 200 --hidden 264 --experts 5 --runs 2 > $OUT/$tool.txt 2>&1; echo "$tool rc $?"; tail -4 $OUT/$tool.txt; done
