"""CoDeGraph: defects that recur in many images, and therefore score as normal."""
