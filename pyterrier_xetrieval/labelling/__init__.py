"""What features mean: samples of texts, keywords, hypotheses, and how good labels are."""
