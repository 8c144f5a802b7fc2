"""CoDeGraph: defects that recur in many images, and would vouch for each other."""
