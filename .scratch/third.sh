. .offline/activate
timeout 200 deno run -A .scratch/tiles.ts
timeout 60 deno run -A .scratch/profile.ts reference
timeout 60 deno run -A cli.ts verify --backend cuda --runs 5
