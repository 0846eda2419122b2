WITH held AS (
  -- The demo's dataset has 8 labelled snapshots besides 4 equilibrium crystals, each at both levels; anything less ends with an error.
  -- A snapshot in it went through every stage. .ci/run asks this with `pesatlas query`.
  SELECT
    count(*) FILTER (level = 'pbe' AND condition <> 'equilibrium') AS pbe,
    count(*) FILTER (level = 'r2scan' AND condition <> 'equilibrium') AS r2scan,
    count(DISTINCT structure_id) FILTER (level = 'pbe' AND condition = 'equilibrium') AS crystals_pbe,
    count(DISTINCT structure_id) FILTER (level = 'r2scan' AND condition = 'equilibrium') AS crystals_r2scan
  FROM dataset
)
SELECT
  *,
  CASE
    WHEN least(pbe, r2scan) >= 8 AND least(crystals_pbe, crystals_r2scan) >= 4 THEN 'enough'
    ELSE error('the demo holds too little: ' || held::VARCHAR)
  END AS verdict
FROM held
