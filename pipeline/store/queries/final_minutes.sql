-- Minutes of which retention took metric points: what was derived from metrics is final.
SELECT epoch_ns(minute) AS minute FROM final_minutes
