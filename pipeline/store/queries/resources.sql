-- Every resource that was ever received.
SELECT * FROM resources
