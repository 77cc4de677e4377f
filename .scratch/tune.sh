. .offline/activate
cd .scratch
./tune
cuobjdump -sass tune > all.sass; python3 - <<'P'
import re
s=open('all.sass').read()
f=[x for x in s.split('Function : ') if 'k_up' in x.split('\n')[0] and 'Li256ELi128ELi4ELi2ELi4E' in x.split('\n')[0]][0]
import os
open(os.environ['OUT']+'/up.sass','w').write(f)
P
cd ..; timeout 60 ncu --print-summary per-kernel --metrics gpu__time_duration.avg -k regex:"sort|combine" -c 40 deno run -A .scratch/profile.ts reference 2>&1 | grep -E "sort|combine|duration" | head -40
for p in small reference; do deno run -A .scratch/profile.ts $p; done
